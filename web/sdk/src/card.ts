import {
  type Configuration,
  connect,
  type ForFrame,
  type ForPage,
  isHello,
  isToken,
  parseForPage,
} from "@cardveil/protocol";
import type { Card, CardError, CardEvents, CardOptions } from "./api.ts";
import { badOption, CardveilError } from "./error.ts";
import type { Place } from "./options.ts";

const HELLO_TIMEOUT_MS = 10_000;
/** A frame says hello before its load event; when it has not by now, what loaded was not our frame. */
const HELLO_AFTER_LOAD_MS = 2_000;
const TOKEN_TIMEOUT_MS = 30_000;
const FIRST_HEIGHT_PX = 300;

type Handlers = { [E in keyof CardEvents]: Set<(detail: CardEvents[E]) => void> };

/**
 * One frame in a page.
 *
 * **Invariant**: the token function is called only when a living frame asks, so a card that is mounted
 * and destroyed at once, as React's StrictMode does, spends nothing.
 * **Invariant**: once destroyed, it calls nobody.
 */
export class FramedCard implements Card {
  readonly #handlers: Handlers = {
    ready: new Set(),
    revealed: new Set(),
    hidden: new Set(),
    copied: new Set(),
    expired: new Set(),
    error: new Set(),
  };
  #phase: "new" | "mounted" | "destroyed" = "new";
  #frame: HTMLIFrameElement | undefined;
  #notice: HTMLElement | undefined;
  #port: MessagePort | undefined;
  #nonce = "";
  #ready = false;
  #wanted = true;
  #token: CardOptions["token"] | undefined;
  #stop = new AbortController();
  #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(
    private readonly place: Place,
    private readonly configuration: Configuration,
    token: CardOptions["token"],
  ) {
    this.#token = token;
  }

  mount(target: string | Element): void {
    if (this.#phase !== "new") throw badOption(`Cardveil: this card is already ${this.#phase}; make another one`);
    const element = typeof target === "string" ? document.querySelector(target) : target;
    if (!(element instanceof Element)) throw badOption(`Cardveil: there is no element ${String(target)} to mount into`);
    this.#phase = "mounted";
    this.#frame = this.#makeFrame();
    const { signal } = this.#stop;
    window.addEventListener("message", (event) => this.#hear(event), { signal });
    document.addEventListener("securitypolicyviolation", (event) => this.#onViolation(event), { signal });
    this.#frame.addEventListener("load", () => this.#after(HELLO_AFTER_LOAD_MS, () => this.#unreachable("frame_blocked")), { signal });
    this.#after(HELLO_TIMEOUT_MS, () => this.#unreachable("frame_timeout"));
    element.append(this.#frame);
  }

  on<E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void): () => void {
    const handlers = this.#handlers[event];
    if (handlers === undefined) throw badOption(`Cardveil: there is no event "${String(event)}"`);
    handlers.add(handler);
    return () => void handlers.delete(handler);
  }

  reveal(): void {
    this.#wanted = true;
    if (this.#ready) this.#send({ type: "reveal" });
  }

  hide(): void {
    this.#wanted = false;
    if (this.#ready) this.#send({ type: "hide" });
  }

  destroy(): void {
    if (this.#phase === "destroyed") return;
    this.#phase = "destroyed";
    this.#stop.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#send({ type: "destroy" });
    this.#port?.close();
    // Someone else may have taken them out of the page already; `remove` does not mind.
    this.#frame?.remove();
    this.#notice?.remove();
    this.#token = undefined;
    for (const handlers of Object.values(this.#handlers)) handlers.clear();
  }

  #makeFrame(): HTMLIFrameElement {
    const frame = document.createElement("iframe");
    frame.src = this.place.frameUrl;
    frame.title = "Card details";
    frame.allow = "clipboard-write";
    frame.referrerPolicy = "no-referrer";
    frame.dataset["testid"] = "cardveil-frame";
    const { theme } = this.configuration.appearance;
    const style = {
      display: "block",
      width: "100%",
      height: `${FIRST_HEIGHT_PX}px`,
      border: "0",
      background: "transparent",
      // Where the schemes of page and frame differ, browsers paint the frame opaque.
      "color-scheme": theme === "auto" ? "light dark" : theme,
    };
    for (const [name, value] of Object.entries(style)) frame.style.setProperty(name, value);
    return frame;
  }

  #hear(event: MessageEvent): void {
    const target = this.#frame?.contentWindow;
    if (!target || event.source !== target || event.origin !== this.place.origin || !isHello(event.data)) return;
    // A second hello means that the frame was loaded again: it knows nothing any more.
    this.#port?.close();
    this.#ready = false;
    this.#clearTimers();
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#nonce = crypto.randomUUID();
    port1.onmessage = ({ data }) => {
      const message = parseForPage(data);
      if (message !== undefined) this.#obey(message);
    };
    target.postMessage(connect(this.#nonce), this.place.origin, [port2]);
    this.#send({ type: "configure", ...this.configuration });
  }

  #obey(message: ForPage): void {
    switch (message.type) {
      case "ready":
        if (this.#ready || message.nonce !== this.#nonce) return;
        this.#ready = true;
        this.#emit("ready", undefined);
        this.#send({ type: this.#wanted ? "reveal" : "hide" });
        break;
      case "needToken":
        void this.#giveToken();
        break;
      case "revealed":
        this.#emit("revealed", { fields: message.fields });
        break;
      case "copied":
        this.#emit("copied", { field: message.field });
        break;
      case "hidden":
      case "expired":
        this.#emit(message.type, undefined);
        break;
      case "error":
        this.#fail(new CardveilError(message.code, message.message, message.retryable, message.requestId));
        break;
      case "height":
        this.#frame?.style.setProperty("height", `${message.px}px`);
    }
  }

  /** A string serves once: a second redemption by a new key would be refused, and reported as a theft. */
  async #giveToken(): Promise<void> {
    const source = this.#token;
    const port = this.#port;
    const give = (message: ForFrame) => {
      if (port === this.#port) this.#send(message);
    };
    if (typeof source !== "function") {
      this.#token = undefined;
      give(isToken(source) ? { type: "token", token: source } : { type: "noToken", code: "token_refused" });
      return;
    }
    try {
      const token = await Promise.race([source(), this.#tooLate()]);
      if (!isToken(token)) throw new TypeError("the token function gave no token");
      give({ type: "token", token });
    } catch (cause) {
      // The frame tells the cardholder, and then us; the cause is for the developer alone.
      if (this.#phase === "mounted") console.error("Cardveil: the token function failed:", cause);
      give({ type: "noToken", code: "token_failed" });
    }
  }

  #tooLate(): Promise<never> {
    return new Promise((_, reject) => {
      this.#after(TOKEN_TIMEOUT_MS, () => reject(new Error(`no token within ${TOKEN_TIMEOUT_MS / 1000} s`)));
    });
  }

  #onViolation(event: SecurityPolicyViolationEvent): void {
    const ours = event.blockedURI.startsWith(this.place.origin) && /^(frame|child|default)-src/.test(event.effectiveDirective);
    if (ours) this.#unreachable("frame_blocked");
  }

  /** The frame cannot speak for itself, so the page gets a line of text in its place. */
  #unreachable(code: "frame_blocked" | "frame_timeout"): void {
    if (this.#port !== undefined || this.#notice !== undefined || this.#frame === undefined) return;
    this.#clearTimers();
    this.#frame.style.setProperty("display", "none");
    this.#notice = document.createElement("p");
    this.#notice.setAttribute("role", "alert");
    this.#notice.dataset["testid"] = "cardveil-error";
    this.#notice.textContent = "Your card cannot be shown right now. Reload the page and try again.";
    this.#frame.after(this.#notice);
    const { origin } = this.place;
    const why =
      code === "frame_timeout"
        ? `no answer from ${origin} within ${HELLO_TIMEOUT_MS / 1000} s`
        : `the frame of ${origin} did not load: check that the embed exists and that ${location.origin} is one of its origins, that this page's Content-Security-Policy has "frame-src ${origin}", and that no content blocker is at work`;
    this.#fail(new CardveilError(code, `Cardveil: ${why}`, true));
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
        queueMicrotask(() => {
          throw cause;
        });
      }
    }
  }

  #send(message: ForFrame): void {
    this.#port?.postMessage(message);
  }

  #after(ms: number, run: () => void): void {
    this.#timers.add(setTimeout(run, ms));
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
