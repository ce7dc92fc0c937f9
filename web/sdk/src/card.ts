import { bare, type Part, tokenOf } from "@cardveil/protocol";
import type {
  Card,
  CardChanges,
  CardErrorCode,
  CardEvents,
  CardOptions,
  PartOptions,
} from "./api.ts";
import { native } from "./document.ts";
import { badOption, CardveilError } from "./error.ts";
import { Frame, type Heard, type Listener, type Looks } from "./frame.ts";
import { notice } from "./notice.ts";
import { type Sorry, sorryIn } from "./sorry.ts";
import { elementOf, parseChanges, parsePart, type Place, type Settings } from "./options.ts";

/** What may be otherwise the next time. */
const PASSING = /^(offline|unavailable|frame_)/;
const TAKEN = "this card was used before; make another one";

export const EVENTS = [
  "ready",
  "revealed",
  "hidden",
  "copied",
  "expired",
  "warning",
  "error",
] as const satisfies (keyof CardEvents)[];
type Handlers = { [E in keyof CardEvents]: Set<(detail: CardEvents[E]) => void> };

/**
 * One card in a page: whole in one frame, or in parts, each in a frame of its own around one that
 * nobody sees.
 *
 * **Invariant**: the token function is called only when a living frame asks, and once at a time, so
 * a card that is mounted and destroyed at once, as React's StrictMode does, spends nothing.
 * **Invariant**: `update` sends what a frame is told of looks and words, and never asks for a
 * token.
 * **Invariant**: what was lost is loaded again by a click, by `reveal`, and once when the line is
 * back. A frame that has said hello is not, so a token that was given is not asked for again.
 * **Invariant**: once destroyed, it calls nobody.
 */
export class FramedCard implements Card {
  readonly #handlers = bare(
    Object.fromEntries(EVENTS.map((event) => [event, new Set()])),
  ) as unknown as Handlers;
  #phase: "new" | "whole" | "parts" | "destroyed" = "new";
  /** The frame that holds the card. */
  #frame: Frame | undefined;
  /** Each with the way to tell it what it is, or has become. */
  readonly #parts = new Map<Frame, (type: "part" | "update") => void>();
  #group = "";
  /**
   * Ends the wait for the line; there while the page and the cardholder know that something was
   * lost.
   */
  #sorry: AbortController | undefined;
  #wanted = true;
  /**
   * Private to the language: as a property it would be set through whatever setter
   * `Object.prototype` has.
   */
  readonly #token: CardOptions["token"];
  #giving: Promise<string> | undefined;
  #settings: Settings;

  constructor(
    private readonly place: Place,
    { token, ...settings }: Settings & Pick<CardOptions, "token">,
    /** A frame that was prepared in a place. */
    private readonly prepared: (as: Looks["as"], into: Element) => Frame | undefined = () =>
      undefined,
  ) {
    this.#token = token;
    this.#settings = settings;
  }

  mount(target: string | Element, part?: Part, options: PartOptions = {}): () => void {
    const element = elementOf(target);
    if (part !== undefined) return this.#mountPart(element, part, options);
    if (this.#phase !== "new") throw badOption(TAKEN);
    this.#phase = "whole";
    this.#makeHolder("card", element);
    return () => this.destroy();
  }

  on<E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void): () => void {
    const handlers = this.#handlers[event];
    if (handlers === undefined) throw badOption(`there is no event "${String(event)}"`);
    handlers.add(handler);
    return () => void handlers.delete(handler);
  }

  update(changes: CardChanges): void {
    const { title, ...more } = (this.#settings = { ...this.#settings, ...parseChanges(changes) });
    const { appearance, locale, labels, hideAfter, copy } = more;
    this.#frame?.dress(appearance.theme, title);
    this.#frame?.send({ type: "update", appearance, locale, labels, hideAfter, copy });
    for (const tell of this.#parts.values()) tell("update");
  }

  reveal(): void {
    if (this.#sorry !== undefined) this.#retry();
    this.#want(true);
  }

  hide(): void {
    this.#want(false);
  }

  destroy(): void {
    if (this.#phase === "destroyed") return;
    this.#phase = "destroyed";
    this.#sorry?.abort();
    this.#sorry = undefined;
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
    const masked = (this.#settings.masked as readonly Part[]).includes(part);
    if (this.#phase === "new") {
      this.#phase = "parts";
      this.#group = crypto.randomUUID();
      this.#makeHolder("holder", native("body"));
    }
    const tell = (type: "part" | "update") => {
      const { locale, labels, appearance: card } = this.#settings;
      const appearance = looks(card);
      frame.dress(appearance.theme, title);
      // It finds its card only when that is there to be found.
      if (this.#frame?.ready)
        frame.send({
          ...(type === "part" ? { type, group: this.#group, masked, ...kind } : { type }),
          appearance,
          locale,
          labels,
        });
    };
    const { theme, text } = looks(this.#settings.appearance);
    // A button, or room for one, is as high as a thumb needs.
    const least = masked || /-|toggle/.test(part) ? 44 : 0;
    const line = Math.ceil((text?.fontSize ?? 16) * (text?.lineHeight ?? 1.4));
    const height = kind.transparent ? "100%" : `${Math.max(least, line)}px`;
    const frame = this.#make(
      { as: "part", theme, title, testid: `cardveil-frame-${part}`, height },
      element,
      (frame) => {
        this.#parts.set(frame, tell);
        return { connected: () => tell("part"), places: () => [frame] };
      },
    );
    if (this.#frame?.lost) frame.cover();
    return () => {
      this.#parts.delete(frame);
      frame.remove();
    };
  }

  #makeHolder(as: "card" | "holder", into: Element): void {
    const { appearance, title } = this.#settings;
    const height = as === "card" ? "300px" : "";
    this.#make(
      { as, theme: appearance.theme, title, testid: "cardveil-frame", height },
      into,
      (frame) => {
        this.#frame = frame;
        return {
          connected: () => {
            const { title: _, timeouts: __, ...configuration } = this.#settings;
            const group = this.#group === "" ? {} : { group: this.#group };
            frame.send({ type: "configure", ...configuration, ...group });
          },
          ready: () => {
            this.#emit("ready", undefined);
            this.#want(this.#wanted);
            for (const tell of this.#parts.values()) tell("part");
          },
          places: () => (as === "card" ? [frame] : [...this.#parts.keys()]),
        };
      },
    );
  }

  /** A frame in its place, or the one that was prepared there. */
  #make(
    looks: Omit<Looks, "locale" | "patienceMs">,
    into: Element,
    /** Makes it the card's; answers what it is told, and where a notice may stand for it. */
    join: (frame: Frame) => { connected(): void; ready?(): void; places(): Frame[] },
  ): Frame {
    const { locale, timeouts } = this.#settings;
    const all = { ...looks, locale, patienceMs: 1000 * timeouts.frame };
    const prepared = this.prepared(looks.as, into);
    const frame = prepared ?? new Frame(this.place, all);
    const { connected, ready, places } = join(frame);
    const listener: Listener = {
      connected: () => {
        this.#found();
        connected();
      },
      ready: () => ready?.(),
      heard: (message) => this.#obey(message),
      lost: (offline, why) => this.#lose(places(), offline, why),
    };
    if (prepared !== undefined) prepared.adopt(all, listener);
    else {
      frame.listener = listener;
      frame.mount(into);
    }
    return frame;
  }

  #obey(message: Heard): void {
    const { type, ...detail } = message;
    if (type === "needToken") void this.#giveToken();
    else if (type === "warning") void this.#warn(message);
    else if (type === "error")
      this.#fail(message.code, message.message, message.retryable, message.requestId);
    else {
      const bare = type === "hidden" || type === "expired";
      this.#emit(type, (bare ? undefined : detail) as CardEvents[typeof type]);
    }
  }

  /** What a frame cannot tell, its page may: what lies over it. */
  async #warn({ type: _, ...warning }: Heard & { type: "warning" }): Promise<void> {
    const frames = this.#phase === "parts" ? [...this.#parts.keys()] : this.#frames();
    const asked = () =>
      this.place.doctor().then(({ hides }) => hides(frames.map(({ element }) => element)));
    const found =
      warning.code === "frame_covered" ? await asked().catch(() => undefined) : undefined;
    if (this.#phase !== "destroyed") this.#emit("warning", { ...warning, ...found });
  }

  async #giveToken(): Promise<void> {
    const frame = this.#frame;
    try {
      this.#giving ??= this.#fetchToken();
      const token = tokenOf(await this.#giving);
      if (token === undefined) throw new TypeError("it gave no token");
      frame?.send({ type: "token", token });
    } catch (cause) {
      // The frame tells the cardholder, and then us; the cause is for the developer alone.
      if (this.#phase !== "destroyed") console.error("Cardveil: the token did not come:", cause);
      frame?.send({ type: "noToken" });
    } finally {
      this.#giving = undefined;
    }
  }

  async #fetchToken(): Promise<string> {
    const token = this.#token;
    if (typeof token !== "function") return token;
    return Promise.race([
      token(),
      new Promise<never>((_, reject) =>
        setTimeout(reject, 1000 * this.#settings.timeouts.token, new Error("no token in time")),
      ),
    ]);
  }

  /** Tells of the first loss, in its place and to the page; what is lost with it makes room. */
  async #lose(
    places: readonly Frame[],
    offline: boolean,
    reason: Promise<[CardErrorCode, string]>,
  ): Promise<void> {
    const told = this.#sorry !== undefined;
    for (const place of places) place.cover();
    if (told) return;
    const sorry = (this.#sorry = new AbortController());
    const { labels, locale } = this.#settings;
    const { lang, retry, ...texts } = { ...sorryIn(locale), ...(labels as Partial<Sorry>) };
    // Where the rest of the card is there, a part that is not has nothing to say of it.
    const rest = this.#frame?.here && [...this.#parts.keys()].some(({ here }) => here);
    const text = rest ? "" : texts[offline ? "offline" : "unreachable"];
    places[0]?.cover((scheme) => notice(text, retry, lang, scheme, () => this.reveal()));
    window.addEventListener("online", () => this.#retry(), bare({ signal: sorry.signal }));
    const [code, why] = await reason;
    if (this.#phase !== "destroyed") this.#fail(code, `Cardveil: ${why}`, PASSING.test(code));
  }

  /** Loads what was lost once more, and what is about to be. */
  #retry(): void {
    this.#settle();
    for (const frame of this.#frames()) if (!frame.here) frame.load();
  }

  /** A frame has come, maybe late. */
  #found(): void {
    if (this.#sorry !== undefined && !this.#frames().some(({ lost }) => lost)) this.#settle();
  }

  /** Takes the notice away. */
  #settle(): void {
    this.#sorry?.abort();
    this.#sorry = undefined;
    for (const frame of this.#frames()) frame.uncover();
  }

  #frames(): Frame[] {
    return [...(this.#frame === undefined ? [] : [this.#frame]), ...this.#parts.keys()];
  }

  #fail(...told: ConstructorParameters<typeof CardveilError>): void {
    const error = new CardveilError(...told);
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
