import { bare, connect, type ForFrame, type ForPage, type Ground, isHello, parseForPage } from "@cardveil/protocol";
import type { CardErrorCode } from "./api.ts";
import { append, native } from "./document.ts";
import { watchGround } from "./ground.ts";
import type { Place } from "./options.ts";

const HELLO_TIMEOUT_MS = 10_000;
/** A frame says hello before its load event; when it has not by now, what loaded was not our frame. */
const HELLO_AFTER_LOAD_MS = 2_000;

export interface Listener {
  /** The frame listens, and knows nothing yet. It comes again when the frame was loaded again. */
  connected(): void;
  ready(): void;
  heard(message: ForPage): void;
  /** It will not come. Why, takes a moment to find out. */
  lost(why: Promise<[code: CardErrorCode, why: string]>): void;
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
}

/** One iframe and the channel to it. */
export class Frame {
  readonly element = native("createElement")("iframe");
  #port: MessagePort | undefined;
  #nonce = "";
  #ready = false;
  /** What it calls itself. */
  #title = "Card details";
  #notice: HTMLElement | undefined;
  /** What it stands on, where it can be seen; told where the theme is the page's. */
  #ground: (() => Ground) | undefined;
  readonly #stop = new AbortController();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(
    private readonly place: Place,
    private readonly looks: Looks,
    private readonly listener: Listener,
  ) {
    const { element } = this;
    const { as, height, title, testid } = looks;
    element.title = title ?? this.#title;
    element.allow = "clipboard-write";
    element.referrerPolicy = "no-referrer";
    element.dataset["testid"] = testid;
    element.style.cssText =
      as === "holder"
        ? // Not `display: none`, in which some browsers run nothing.
          "position:absolute;width:0;height:0;border:0;visibility:hidden"
        : `display:inline-block;vertical-align:top;width:100%;height:${height};border:0;background:transparent`;
  }

  /** What its page gives it from outside. */
  dress(theme: Looks["theme"], title: string | undefined): void {
    const other = theme !== this.looks.theme;
    Object.assign(this.looks, { theme, title });
    if (other) this.#stand();
    this.element.title = title ?? this.#title;
  }

  get ready(): boolean {
    return this.#ready;
  }

  mount(into: Element): void {
    const until = bare({ signal: this.#stop.signal });
    window.addEventListener("message", (event) => this.#hear(event), until);
    native("addEventListener")("securitypolicyviolation", (event) => this.#onViolation(event), until);
    // Only in its place can it tell what it stands on, which its document is to know before it paints.
    const element = append(into, this.element);
    const { as, locale } = this.looks;
    if (as !== "holder") this.#ground = watchGround(element, this.#stop.signal, () => this.#stand());
    element.src = `${this.place.frameUrl}?lang=${locale.split("-", 1)[0]?.toLowerCase()}&as=${as}&scheme=${this.#stand()}`;
    element.addEventListener("load", () => this.#after(HELLO_AFTER_LOAD_MS, () => this.#lost("frame_blocked")), until);
    this.#after(HELLO_TIMEOUT_MS, () => this.#lost("frame_timeout"));
  }

  send(message: ForFrame): void {
    this.#port?.postMessage(message);
  }

  /** Tells the frame what it stands on, and is in the same scheme: where the two differ, browsers paint it opaque. */
  #stand(): string {
    const { theme } = this.looks;
    const ground = theme === "auto" ? this.#ground?.() : undefined;
    const scheme = ground?.scheme ?? theme;
    this.element.style.setProperty("color-scheme", scheme);
    if (ground !== undefined) this.send({ type: "ground", ...ground });
    return scheme;
  }

  /** A line of text in its place, when it cannot speak for itself. */
  notice(text: string): void {
    if (this.#notice !== undefined) return;
    this.element.style.setProperty("display", "none");
    this.#notice = native("createElement")("p");
    this.#notice.setAttribute("role", "alert");
    this.#notice.dataset["testid"] = "cardveil-error";
    this.#notice.textContent = text;
    this.element.after(this.#notice);
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
    this.#stand();
    this.listener.connected();
  }

  #obey(message: ForPage): void {
    if (message.type === "ready") {
      if (this.#ready || message.nonce !== this.#nonce) return;
      this.#ready = true;
      this.#name(message.title);
      this.listener.ready();
    } else if (message.type === "title") {
      this.#name(message.title);
    } else if (message.type === "size") {
      this.element.style.setProperty("height", `${message.height}px`);
      const { baseline } = message;
      if (baseline !== undefined) this.element.style.setProperty("vertical-align", `${baseline - message.height}px`);
    } else this.listener.heard(message);
  }

  #name(title: string): void {
    this.#title = title;
    this.element.title = this.looks.title ?? title;
  }

  #onViolation({ blockedURI, effectiveDirective }: SecurityPolicyViolationEvent): void {
    if (blockedURI.startsWith(this.place.origin) && /^(frame|child|default)-src/.test(effectiveDirective)) this.#lost("csp_blocked");
  }

  #lost(code: "frame_blocked" | "frame_timeout" | "csp_blocked"): void {
    if (this.#port !== undefined || this.#stop.signal.aborted) return;
    this.#clearTimers();
    this.#stop.abort();
    const { origin } = this.place;
    // What the frame cannot tell, the doctor finds out, where it can be reached.
    this.listener.lost(this.place.doctor().then(({ why }) => why(this.place, code), () => [code, `no frame of ${origin}`]));
  }

  #after(ms: number, run: () => void): void {
    this.#timers.add(setTimeout(run, ms));
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
