import type { ForPage, PartConfiguration } from "@cardveil/protocol";
import type { Surroundings } from "./card.ts";
import type { Config } from "./config.ts";
import { button, el, icon } from "./dom.ts";
import { type Drawing, fieldOf, type ForPart, type FromPart } from "./siblings.ts";
import {
  absent,
  CHECK,
  COPY,
  EYE,
  EYE_OFF,
  hidden,
  hidesIn,
  number,
  showButton,
  text,
} from "./pieces.ts";
import { about, fill, nameOf, type Speech } from "./words/index.ts";

/**
 * After this much more than the card's own time a part hides by itself: whoever should tell it may
 * be gone.
 */
const GRACE_MS = 1500;
const NARROW_PX = 240;

/**
 * Whether a part is without looks: the page asks, and what the server wrote into this document
 * decides.
 */
export function allowed(
  config: Pick<Config, "transparent">,
  { transparent }: PartConfiguration,
  post: (message: ForPage) => void,
): boolean {
  if (!transparent || config.transparent) return transparent;
  post({
    type: "warning",
    code: "transparent_refused",
    message: "The embed does not allow transparent parts; this one has looks.",
  });
  return false;
}

/**
 * One part of a card in a frame of its own: a field, or a button.
 *
 * **Invariant**: each drawing replaces the one before, nodes and all, and the one value it may
 * hold.
 */
export class PartView {
  readonly #live = el("p", { class: "unseen", role: "status" });
  readonly #box = el("div", { class: "box" });
  #send: (act: FromPart) => void = () => {};
  #value: string | undefined;
  #cancel = () => {};
  #last: Drawing | undefined;

  constructor(
    root: HTMLElement,
    private speech: Speech,
    private readonly settings: PartConfiguration,
    private readonly around: Pick<Surroundings, "copy" | "painted" | "sight" | "timer">,
  ) {
    root.className = settings.transparent ? "part transparent" : "part";
    root.dataset["part"] = settings.part;
    this.#box.classList.toggle("switch", settings.masked === true);
    // What stands at the end of the first line tells where that line's baseline is.
    root.replaceChildren(this.#box, el("i", { class: "base", hidden: true }), this.#live);
    this.clear();
  }

  /** What the page may read to name the frame. */
  get title(): string {
    const { part } = this.settings;
    const field = fieldOf(part);
    if (field === undefined) return this.speech.labels[part === "toggle" ? "show" : "card"];
    return part === field ? nameOf(this.speech, field) : about(this.speech, "copyField", field);
  }

  get baseline(): number {
    return this.#box.nextElementSibling?.getBoundingClientRect().bottom ?? 0;
  }

  attach(port: MessagePort): void {
    const { sight } = this.around;
    this.#send = (act) => port.postMessage(act);
    this.#send(sight.now);
    sight.watch(() => this.#send(sight.now));
    port.addEventListener("message", ({ data }: MessageEvent<ForPart>) => {
      if (data.type === "draw") this.draw(data.drawing);
      else this.#tick(data.secs);
    });
    port.addEventListener("close", () => this.clear());
    port.start();
  }

  /** Asks that the card hides in all of its parts. */
  hide(): void {
    this.#send("hide");
  }

  /** Says goodbye, so that the card does not count on this part any more. */
  leave(): void {
    this.#send("gone");
    this.clear();
  }

  /** Takes the digits away, whatever the card says later. */
  clear(): void {
    if (this.#last === undefined || this.#value !== undefined) {
      this.draw({
        at: "loading",
        lastFour: "",
        network: "",
        masked: false,
        enabled: false,
        secs: 0,
        alert: false,
        ...this.#rest(),
      });
    }
  }

  /** Draws what is there once more, in other words. When it hides stays as it is. */
  speak(speech: Speech): void {
    this.speech = speech;
    if (this.#last !== undefined) this.#replace(this.#last);
  }

  draw(drawing: Drawing): void {
    const fresh = drawing.value !== undefined && drawing.value !== this.#value;
    this.#cancel();
    this.#last = drawing;
    this.#value = drawing.value;
    this.#box.dataset["state"] = drawing.at;
    this.#box.setAttribute("aria-busy", String(drawing.at === "loading"));
    this.#replace(drawing);
    this.#live.setAttribute("role", drawing.alert ? "alert" : "status");
    if (this.#live.textContent !== (drawing.says ?? ""))
      this.#live.textContent = drawing.says ?? "";
    if (drawing.value !== undefined)
      this.#cancel = this.around.timer(drawing.secs * 1000 + GRACE_MS, () => this.clear());
    if (fresh && fieldOf(this.settings.part) === this.settings.part)
      void this.#painted(drawing.value);
  }

  #replace(drawing: Drawing): void {
    const focused = this.#box.contains(document.activeElement);
    this.#box.replaceChildren(...this.#nodes(drawing));
    if (focused) this.#box.querySelector<HTMLElement>("button, [tabindex]")?.focus();
  }

  #rest(): Partial<Drawing> {
    const { lastFour = "", network = "" } = this.#last ?? {};
    return this.#last === undefined ? {} : { at: "hidden", lastFour, network };
  }

  #nodes(drawing: Drawing): Node[] {
    const { part } = this.settings;
    if (drawing.at === "gone") return [];
    const field = fieldOf(part);
    if (field === undefined)
      return part === "toggle" ? [this.#toggle(drawing)] : this.#countdown(drawing);
    return part === field ? this.#field(field, drawing) : [this.#copyButton(field, drawing)];
  }

  #field(field: Exclude<ReturnType<typeof fieldOf>, undefined>, drawing: Drawing): Node[] {
    const { speech } = this;
    const { at, state, value } = drawing;
    // A page from before said nothing of it.
    if (drawing.masked) this.#box.classList.add("switch");
    if (value !== undefined) {
      const shown =
        field === "pan"
          ? number(speech, value, drawing.network)
          : text(field, value, drawing.masked);
      if (!drawing.masked) return [shown];
      const label = about(speech, "hideField", field);
      return [
        shown,
        button(
          { class: "bare", testid: `hide-${field}`, label },
          () => this.#send("hideField"),
          icon(...EYE_OFF),
        ),
      ];
    }
    if (at === "failed")
      return [
        drawing.alert
          ? el("span", { class: "sorry", testid: "error" }, drawing.says ?? "")
          : el("span", { class: "masked", hidden: true }, "–"),
      ];
    if (at === "shown" && state === "absent") return [absent(speech, field)];
    const masked = hidden(speech, field, drawing);
    if (at !== "shown" || state === undefined) return [masked];
    return [masked, showButton(speech, field, state, () => this.#send("showField"))];
  }

  #copyButton(field: Exclude<ReturnType<typeof fieldOf>, undefined>, drawing: Drawing): Node {
    const copied = drawing.copied === true;
    // Its name is what is read on it (WCAG 2.5.3).
    const label = copied ? this.speech.labels.copied : about(this.speech, "copyField", field);
    const copy = button(
      { class: "copy-part", testid: `copy-${field}`, label },
      () => void this.#copy(),
    );
    copy.append(icon(...(copied ? CHECK : COPY)), el("span", { class: "word" }, label));
    if (!drawing.enabled) copy.setAttribute("aria-disabled", "true");
    return copy;
  }

  /** Painted where it can be seen, and while it shows the same. */
  async #painted(value: string | undefined): Promise<void> {
    await this.around.painted();
    const { sight } = this.around;
    const tell = () => {
      if (sight.hidden) return;
      stop();
      if (this.#value === value) this.#send("painted");
    };
    const stop = sight.watch(tell);
    tell();
  }

  async #copy(): Promise<void> {
    if (this.#value === undefined) return;
    if (!this.around.sight.steady) return this.#send("copyFailed");
    this.#send((await this.around.copy(this.#value)) ? "copied" : "copyFailed");
  }

  #toggle({ at, enabled, secs }: Drawing): Node {
    const { labels } = this.speech;
    const retry = secs > 0 ? fill(labels.retryIn, "seconds", secs) : labels.retry;
    // In a narrow place all of it would take a line more than what hides.
    const show = labels[innerWidth < NARROW_PX ? "showShort" : "show"];
    const [act, word, sign, label] = (
      {
        shown: ["hide", labels.hide, EYE_OFF, labels.hide],
        failed: ["retry", retry, EYE, retry],
      } as const
    )[at as "shown" | "failed"] ?? ["show", show, EYE, labels.show];
    const toggle = button(
      { class: "action", testid: act, label },
      () => this.#send(act),
      icon(...sign),
      el("span", { class: "word" }, word),
    );
    if (!enabled) toggle.setAttribute("aria-disabled", "true");
    return toggle;
  }

  #countdown({ at, secs }: Drawing): Node[] {
    if (at !== "shown") return [];
    // role=timer is silent unless asked: nobody wants to hear every second.
    return [
      el(
        "span",
        { class: "countdown", testid: "countdown", role: "timer" },
        hidesIn(this.speech, secs),
      ),
    ];
  }

  #tick(secs: number): void {
    if (this.#last !== undefined) this.#last.secs = secs;
    const timer = this.#box.querySelector("[data-testid=cardveil-countdown]");
    if (timer !== null) timer.textContent = hidesIn(this.speech, secs);
  }
}
