import {
  bare,
  connect,
  type ForFrame,
  type ForPage,
  type Ground,
  isHello,
  parseForPage,
} from "@cardveil/protocol";
import type { CardErrorCode } from "./api.ts";
import { append, native } from "./document.ts";
import { policyLine } from "./error.ts";
import { languageOf } from "./sorry.ts";
import { watchGround } from "./ground.ts";
import type { Place } from "./options.ts";

/**
 * A frame says hello before its load event; when it has not by now, what loaded was not our frame.
 */
const HELLO_AFTER_LOAD_MS = 2_000;

/** What the card hears; the rest is the frame's own. */
export type Heard = Exclude<ForPage, { type: "ready" | "title" | "size" }>;

export interface Listener {
  /** The frame listens, and knows nothing yet. It comes again when the frame was loaded again. */
  connected(): void;
  ready(): void;
  heard(message: Heard): void;
  /** It does not come. Why, takes a moment to find out. */
  lost(offline: boolean, why: Promise<[code: CardErrorCode, why: string]>): void;
}

export interface Looks {
  theme: "light" | "dark" | "auto";
  title: string | undefined;
  locale: string;
  testid: string;
  /** Which of our documents it holds. */
  as: "card" | "holder" | "part";
  /** Its first height, in CSS. A holder has none: nobody sees it. */
  height: string;
  /** How long it may take to come. */
  patienceMs: number;
}

/** One iframe and the channel to it. */
export class Frame {
  readonly element = native("createElement")("iframe");
  listener: Listener = { connected() {}, ready() {}, heard() {}, lost() {} };
  ready = false;
  /** Whether it was waited for in vain. */
  lost = false;
  #port: MessagePort | undefined;
  #nonce = "";
  /** What it calls itself. */
  #title = "Card details";
  #notice: HTMLElement | undefined;
  /** What it stands on, where it can be seen; told where the theme is the page's. */
  #ground: (() => Ground) | undefined;
  readonly #stop = new AbortController();
  readonly #timers: ReturnType<typeof setTimeout>[] = [];

  constructor(
    readonly place: Place,
    public looks: Looks,
  ) {
    const { element } = this;
    element.allow = "clipboard-write";
    element.referrerPolicy = "no-referrer";
    this.#dress();
  }

  /** Makes it the frame of a card, which it waited for. */
  adopt(looks: Looks, listener: Listener): void {
    Object.assign(this, { looks, listener });
    this.#dress();
    this.#stand();
    if (this.#port !== undefined) listener.connected();
    else this.#wait();
  }

  #dress(): void {
    const { height, testid } = this.looks;
    this.#name();
    this.element.dataset["testid"] = testid;
    this.element.style.cssText =
      height === ""
        ? // Not `display: none`, in which some browsers run nothing.
          "position:absolute;width:0;height:0;border:0;visibility:hidden"
        : `display:inline-block;vertical-align:top;width:100%;height:${height};border:0;background:transparent;font:medium system-ui`;
  }

  /** What its page gives it from outside. */
  dress(theme: Looks["theme"], title: string | undefined): void {
    const other = theme !== this.looks.theme;
    Object.assign(this.looks, { theme, title });
    if (other) this.#stand();
    this.#name();
  }

  /** Whether it has said hello. */
  get here(): boolean {
    return this.#port !== undefined;
  }

  mount(into: Element): void {
    const until = bare({ signal: this.#stop.signal });
    window.addEventListener("message", (event) => this.#hear(event), until);
    native("addEventListener")(
      "securitypolicyviolation",
      (event) => this.#onViolation(event),
      until,
    );
    // Only in its place can it tell what it stands on, which its document is to know before it
    // paints.
    const element = append(into, this.element);
    // What the frame's own style makes of this width and of the size that the cardholder's browser
    // writes in (--face-height, --bar-height), so that nothing moves when it comes.
    if (this.looks.as === "card")
      element.style.height = `calc(32px + max(clamp(224px,${Math.ceil(element.clientWidth * 0.6305 - 15)}px,252px),10.5em) + max(44px,2.5em))`;
    if (this.looks.as !== "holder")
      this.#ground = watchGround(element, this.#stop.signal, () => this.#stand());
    this.load();
    element.addEventListener(
      "load",
      () => this.#after(HELLO_AFTER_LOAD_MS, () => this.#lose("frame_blocked")),
      until,
    );
  }

  /** Loads its document, or loads it once more. */
  load(): void {
    const { as, locale } = this.looks;
    this.uncover();
    this.element.src = `${this.place.frameUrl}?lang=${languageOf(locale)}&as=${as}&scheme=${this.#stand()}`;
    this.#wait();
  }

  #wait(): void {
    this.lost = false;
    this.#clearTimers();
    // Some browsers tell of a frame that failed; others wait. `onLine` is wrong now and then, and a
    // late frame as good.
    this.#after(navigator.onLine ? this.looks.patienceMs : HELLO_AFTER_LOAD_MS, () =>
      this.#lose("frame_timeout"),
    );
  }

  send(message: ForFrame): void {
    this.#port?.postMessage(message);
  }

  /**
   * Tells the frame what it stands on, and is in the same scheme: where the two differ, browsers
   * paint it opaque.
   */
  #stand(): string {
    const { theme } = this.looks;
    const ground = theme === "auto" ? this.#ground?.() : undefined;
    const scheme = ground?.scheme ?? theme;
    this.element.style.colorScheme = scheme;
    if (ground !== undefined) this.send({ type: "ground", ...ground });
    return scheme;
  }

  /**
   * Puts a notice in its place, when it cannot speak for itself; or nothing, where another one has
   * the notice.
   */
  cover(made?: (scheme: string) => HTMLElement): void {
    const { style } = this.element;
    style.display = "none";
    if (this.#notice !== undefined || made === undefined) return;
    this.#notice = made(style.colorScheme);
    this.#notice.style.minHeight = style.height;
    this.element.after(this.#notice);
  }

  uncover(): void {
    const notice = this.#notice;
    this.#notice = undefined;
    this.element.style.display = this.looks.height === "" ? "" : "inline-block";
    const focused = notice?.contains(native("activeElement"));
    notice?.remove();
    if (focused) this.element.focus();
  }

  remove(): void {
    this.#stop.abort();
    this.#clearTimers();
    this.send({ type: "destroy" });
    this.#port?.close();
    // Someone else may have taken them out of the page already; `remove` does not mind.
    this.element.remove();
    this.#notice?.remove();
  }

  #hear(event: MessageEvent): void {
    const target = this.element.contentWindow;
    if (
      !target ||
      event.source !== target ||
      event.origin !== this.place.origin ||
      !isHello(event.data)
    )
      return;
    // A second hello means that the frame was loaded again: it knows nothing any more.
    this.#port?.close();
    this.ready = false;
    this.#clearTimers();
    // It may be late, and is as good.
    this.lost = false;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#nonce = crypto.randomUUID();
    port1.onmessage = ({ data }) => {
      const message = parseForPage(data);
      if (message !== undefined) this.#obey(message);
    };
    target.postMessage(connect(this.#nonce), this.place.origin, [port2]);
    this.#stand();
    this.listener.connected();
  }

  #obey(message: ForPage): void {
    if (message.type === "ready") {
      if (this.ready || message.nonce !== this.#nonce) return;
      this.ready = true;
      this.#name(message.title);
      this.listener.ready();
    } else if (message.type === "title") this.#name(message.title);
    else if (message.type === "size") {
      const { style } = this.element;
      const { height, baseline } = message;
      style.height = `${height}px`;
      if (baseline !== undefined) style.verticalAlign = `${baseline - height}px`;
    } else this.listener.heard(message);
  }

  #name(title = this.#title): void {
    this.#title = title;
    this.element.title = this.looks.title ?? title;
  }

  #onViolation({ blockedURI, effectiveDirective }: SecurityPolicyViolationEvent): void {
    if (
      blockedURI.startsWith(this.place.origin) &&
      /^(frame|child|default)-src/.test(effectiveDirective)
    )
      this.#lose("csp_blocked");
  }

  #lose(code: "frame_blocked" | "frame_timeout" | "csp_blocked"): void {
    if (this.#port !== undefined || this.lost) return;
    this.#clearTimers();
    this.lost = true;
    const { place } = this;
    const offline = !navigator.onLine;
    // What the frame cannot tell, the doctor finds out, where it can be reached.
    const why: [CardErrorCode, string] | undefined = offline
      ? ["offline", "this device is offline"]
      : code === "csp_blocked"
        ? [code, policyLine(`frame-src ${place.origin}`)]
        : undefined;
    this.listener.lost(
      offline,
      why !== undefined
        ? Promise.resolve(why)
        : place.doctor().then(
            ({ why }) => why(place, code),
            () => [code, `no frame of ${place.origin}`],
          ),
    );
  }

  #after(ms: number, run: () => void): void {
    this.#timers.push(setTimeout(run, ms));
  }

  #clearTimers(): void {
    for (const timer of this.#timers.splice(0)) clearTimeout(timer);
  }
}
