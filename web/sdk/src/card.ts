import { bare, type ForPage, type Part, tokenOf } from "@cardveil/protocol";
import type { Card, CardChanges, CardError, CardErrorCode, CardEvents, CardOptions, PartOptions } from "./api.ts";
import { native } from "./document.ts";
import { badOption, CardveilError } from "./error.ts";
import { Frame } from "./frame.ts";
import { parseChanges, parsePart, type Place, type Settings } from "./options.ts";

/** What a cardholder reads where no frame of ours can tell them. */
export const UNREACHABLE = "Your card cannot be shown right now. Reload the page and try again.";
const TOKEN_TIMEOUT_MS = 30_000;
const TAKEN = "Cardveil: this card was used before; make another one";

export const EVENTS = ["ready", "revealed", "hidden", "copied", "expired", "warning", "error"] as const satisfies (keyof CardEvents)[];
type Handlers = { [E in keyof CardEvents]: Set<(detail: CardEvents[E]) => void> };

/**
 * One card in a page: whole in one frame, or in parts, each in a frame of its own around one that nobody sees.
 *
 * **Invariant**: the token function is called only when a living frame asks, and once at a time, so a
 * card that is mounted and destroyed at once, as React's StrictMode does, spends nothing.
 * **Invariant**: `update` sends what a frame is told of looks and words, and never asks for a token.
 * **Invariant**: once destroyed, it calls nobody.
 */
export class FramedCard implements Card {
  readonly #handlers = bare(Object.fromEntries(EVENTS.map((event) => [event, new Set()]))) as unknown as Handlers;
  #phase: "new" | "whole" | "parts" | "destroyed" = "new";
  /** The frame that holds the card. */
  #frame: Frame | undefined;
  /** Each with the way to tell it what it is, or has become. */
  readonly #parts = new Map<Frame, (type: "part" | "update") => void>();
  #group = "";
  #lost: string | undefined;
  #wanted = true;
  #giving: Promise<string> | undefined;

  constructor(
    private readonly place: Place,
    private settings: Settings,
    private readonly token: CardOptions["token"],
  ) {}

  mount(target: string | Element, part?: Part, options: PartOptions = {}): () => void {
    const element = typeof target === "string" ? native("querySelector")(target) : target;
    if (!(element instanceof Element)) throw badOption(`Cardveil: there is no element ${target}`);
    if (part !== undefined) return this.#mountPart(element, part, options);
    if (this.#phase !== "new") throw badOption(TAKEN);
    this.#phase = "whole";
    this.#frame = this.#makeHolder("card");
    this.#frame.mount(element);
    return () => this.destroy();
  }

  on<E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void): () => void {
    const handlers = this.#handlers[event];
    if (handlers === undefined) throw badOption(`Cardveil: there is no event "${String(event)}"`);
    handlers.add(handler);
    return () => void handlers.delete(handler);
  }

  update(changes: CardChanges): void {
    const { title, ...more } = (this.settings = { ...this.settings, ...parseChanges(changes) });
    const { appearance, locale, labels, hideAfter, copy } = more;
    this.#frame?.dress(appearance.theme, title);
    this.#frame?.send({ type: "update", appearance, locale, labels, hideAfter, copy });
    for (const tell of this.#parts.values()) tell("update");
  }

  reveal(): void {
    this.#want(true);
  }

  hide(): void {
    this.#want(false);
  }

  destroy(): void {
    if (this.#phase === "destroyed") return;
    this.#phase = "destroyed";
    this.#frame?.remove();
    for (const frame of this.#parts.keys()) frame.remove();
    this.#parts.clear();
    for (const handlers of Object.values(this.#handlers)) handlers.clear();
  }

  #want(shown: boolean): void {
    this.#wanted = shown;
    if (this.#frame?.ready) this.#frame.send({ type: shown ? "reveal" : "hide" });
  }

  #mountPart(element: Element, part: Part, options: PartOptions): () => void {
    if (this.#phase === "whole" || this.#phase === "destroyed") throw badOption(TAKEN);
    const { looks, title, ...kind } = parsePart(part, options);
    if (this.#phase === "new") {
      this.#phase = "parts";
      this.#group = crypto.randomUUID();
      this.#frame = this.#makeHolder("holder");
      this.#frame.mount(native("body"));
    }
    const tell = (type: "part" | "update") => {
      const { locale, labels, appearance: card } = this.settings;
      const appearance = looks(card);
      frame.dress(appearance.theme, title);
      // It finds its card only when that is there to be found.
      if (this.#frame?.ready) frame.send({ ...(type === "part" ? { type, group: this.#group, ...kind } : { type }), appearance, locale, labels });
    };
    const { locale, appearance } = this.settings;
    const height = kind.transparent ? "100%" : "24px";
    const frame: Frame = new Frame(
      this.place,
      { as: "part", locale, theme: looks(appearance).theme, title, testid: `cardveil-frame-${part}`, height },
      {
        connected: () => tell("part"),
        ready: () => {},
        heard: (message) => this.#obey(message),
        lost: (why) => void this.#unreachable(why, frame),
      },
    );
    this.#parts.set(frame, tell);
    frame.mount(element);
    if (this.#lost !== undefined) frame.notice(this.#lost);
    return () => {
      this.#parts.delete(frame);
      frame.remove();
    };
  }

  #makeHolder(as: "card" | "holder"): Frame {
    const { appearance, locale, title } = this.settings;
    const looks = { as, locale, theme: appearance.theme, title, testid: "cardveil-frame", height: "300px" };
    const frame: Frame = new Frame(this.place, looks, {
      connected: () => {
        const { title: _, ...configuration } = this.settings;
        frame.send({ type: "configure", ...configuration, ...(this.#group === "" ? {} : { group: this.#group }) });
      },
      ready: () => {
        this.#emit("ready", undefined);
        frame.send({ type: this.#wanted ? "reveal" : "hide" });
        for (const tell of this.#parts.values()) tell("part");
      },
      heard: (message) => this.#obey(message),
      lost: (why) => void this.#unreachable(why, frame),
    });
    return frame;
  }

  #obey(message: ForPage): void {
    switch (message.type) {
      case "needToken":
        void this.#giveToken();
        break;
      case "error":
        this.#fail(new CardveilError(message.code, message.message, message.retryable, message.requestId));
        break;
      case "hidden":
      case "expired":
        this.#emit(message.type, undefined);
        break;
      case "warning":
        void this.#warn(message);
        break;
      case "ready":
      case "title":
      case "size": // the frame's own
        break;
      default: {
        const { type, ...detail } = message;
        this.#emit(type, detail as CardEvents[typeof type]);
      }
    }
  }

  /** What a frame cannot tell, its page may: what lies over it. */
  async #warn({ type: _, ...warning }: ForPage & { type: "warning" }): Promise<void> {
    const frames = this.#phase === "parts" ? [...this.#parts.keys()] : this.#frame === undefined ? [] : [this.#frame];
    const asked = () => this.place.doctor().then(({ hides }) => hides(frames.map(({ element }) => element)));
    const found = warning.code === "frame_covered" ? await asked().catch(() => undefined) : undefined;
    if (this.#phase !== "destroyed") this.#emit("warning", { ...warning, ...found });
  }

  async #giveToken(): Promise<void> {
    const frame = this.#frame;
    try {
      this.#giving ??= this.#fetchToken();
      const token = tokenOf(await this.#giving);
      if (token === undefined) throw new TypeError("not a token");
      frame?.send({ type: "token", token });
    } catch (cause) {
      // The frame tells the cardholder, and then us; the cause is for the developer alone.
      if (this.#phase !== "destroyed") console.error(cause);
      frame?.send({ type: "noToken" });
    } finally {
      this.#giving = undefined;
    }
  }

  async #fetchToken(): Promise<string> {
    const { token } = this;
    if (typeof token !== "function") return token;
    return Promise.race([token(), new Promise<never>((_, reject) => setTimeout(reject, TOKEN_TIMEOUT_MS, new Error("no token in time")))]);
  }

  async #unreachable(reason: Promise<[CardErrorCode, string]>, frame: Frame): Promise<void> {
    const text = (this.settings.labels as Record<string, string>)["unreachable"] ?? UNREACHABLE;
    if (frame === this.#frame && this.#phase === "parts") {
      this.#lost = text;
      for (const part of this.#parts.keys()) part.notice(text);
    } else frame.notice(text);
    const [code, why] = await reason;
    if (this.#phase !== "destroyed") this.#fail(new CardveilError(code, `Cardveil: ${why}`, true));
  }

  #fail(error: CardError): void {
    if (this.#handlers.error.size === 0) console.error(error);
    this.#emit("error", error);
  }

  #emit<E extends keyof CardEvents>(event: E, detail: CardEvents[E]): void {
    for (const handler of [...this.#handlers[event]]) {
      try {
        handler(detail);
      } catch (cause) {
        // The handler's own bug: the page's, and not a reason to stop.
        reportError(cause);
      }
    }
  }
}
