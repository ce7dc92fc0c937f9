import type { Appearance, Copyable, Field } from "@cardveil/protocol";
import type { Because, Cvv } from "./card.ts";
import { faceOf } from "./colour.ts";
import { button, el, icon, shape } from "./dom.ts";
import type { Failure } from "./failure.ts";
import { networkMark } from "./network.ts";
import { groups, type Secrets } from "./secrets.ts";
import { fill, type FrameError, type Speech, wordsFor } from "./words/index.ts";

export type Scene =
  | { at: "loading" }
  | {
      at: "shown";
      secrets: Secrets;
      lastFour: string;
      network: string;
      fields: readonly Field[];
      copy: readonly Copyable[];
      cvv: Cvv;
      secs: number;
    }
  | { at: "hidden"; because: Because; showable: boolean; lastFour: string; network: string }
  | { at: "failed"; failure: Failure; retryable: boolean };

/** What the cardholder can do. */
export interface Actions {
  show(): void;
  hide(): void;
  retry(): void;
  showCvv(): void;
  copy(field: Copyable): void;
}

/**
 * Draws the scenes. It decides nothing and keeps nothing.
 *
 * **Invariant**: each scene replaces the one before, nodes and all, so digits are gone from the document
 * as soon as another scene is drawn. The live region tells of them and never holds them.
 */
export class View {
  readonly #live = el("p", { class: "unseen", role: "status" });
  #scene = el("div");
  #speech: Speech = wordsFor("en", {});
  #actions: Actions | undefined;
  #copyable: readonly Copyable[] = [];
  #secs = 0;

  constructor(private readonly root: HTMLElement) {
    root.replaceChildren(this.#scene, this.#live);
  }

  on(actions: Actions): void {
    this.#actions = actions;
  }

  configure(speech: Speech, appearance: Appearance): void {
    this.#speech = speech;
    const { documentElement: html } = document;
    html.lang = speech.lang;
    html.dir = speech.dir;
    html.dataset["theme"] = appearance.theme;
    if (appearance.radius !== undefined) html.style.setProperty("--radius", `${appearance.radius}px`);
    if (appearance.accent !== undefined) {
      const { from, to, ink } = faceOf(appearance.accent);
      html.style.setProperty("--face-from", from);
      html.style.setProperty("--face-to", to);
      html.style.setProperty("--face-ink", ink);
      html.style.setProperty("--sheen", "transparent"); // it would cost the contrast that faceOf made sure of
    }
  }

  render(scene: Scene): void {
    const focused = this.#scene.contains(document.activeElement);
    const next = el("div", { class: "card", testid: "card", role: "group", label: this.#speech.labels.card });
    next.dataset["state"] = scene.at;
    next.append(...this.#draw(scene));
    next.setAttribute("aria-busy", String(scene.at === "loading"));
    this.#scene.replaceWith(next);
    this.#scene = next;
    this.#live.textContent = scene.at === "loading" ? this.#speech.labels.loading : "";
    // The button that had the focus is gone; without this a keyboard would start again at the top.
    if (focused) next.querySelector<HTMLElement>("[data-next], button")?.focus();
  }

  clear(): void {
    this.root.replaceChildren();
  }

  announce(text: string): void {
    this.#live.textContent = text;
  }

  tick(secs: number): void {
    const text = this.#find("countdown-text");
    if (text !== null) text.textContent = fill(this.#speech.labels.hidesIn, "seconds", secs);
    this.#find("countdown")?.style.setProperty("--left", String(this.#secs > 0 ? secs / this.#secs : 0));
  }

  cvv(state: Cvv, value: string | undefined, note = ""): void {
    const slot = this.#scene.querySelector(".cvv-slot");
    const focused = slot?.contains(document.activeElement) ?? false;
    slot?.replaceChildren(...this.#cvvParts(state, value));
    if (focused) (slot?.querySelector<HTMLElement>("[data-testid=cardveil-cvv], button") ?? this.#find("hide"))?.focus();
    this.#note(note);
  }

  copied(field: Copyable, done: boolean): void {
    const { copied, copyFailed } = this.#speech.labels;
    if (done) this.#note(copied, false);
    else this.#note(copyFailed);
    this.#find(`copy-${field}`)?.replaceChildren(icon(...(done ? CHECK : COPY)));
  }

  /** Some seconds after `copied`. */
  forgetCopied(field: Copyable): void {
    this.#note("");
    this.#find(`copy-${field}`)?.replaceChildren(icon(...COPY));
  }

  allowRetry(): void {
    this.#find("retry")?.removeAttribute("disabled");
  }

  #draw(scene: Scene): Node[] {
    switch (scene.at) {
      case "loading":
        return [this.#face("", el("div", { class: "bone wide" }), el("div", { class: "bones" }, el("div", { class: "bone" }), el("div", { class: "bone short" }))), this.#bar()];
      case "shown":
        this.#secs = scene.secs;
        this.#copyable = scene.copy;
        return [this.#face(scene.network, this.#number(scene), this.#details(scene)), this.#bar(this.#countdown(scene.secs), this.#hideButton())];
      case "hidden":
        return this.#hiddenScene(scene);
      case "failed":
        return [this.#failure(scene)];
    }
  }

  #hiddenScene(scene: Extract<Scene, { at: "hidden" }>): Node[] {
    const { labels } = this.#speech;
    const because = { asked: labels.hidden, time: labels.hiddenByTime, left: labels.hiddenByLeaving }[scene.because];
    const bar: HTMLElement[] = [el("p", { class: "note" }, because)];
    if (scene.showable) {
      bar.push(button({ class: "action", testid: "show" }, () => this.#actions?.show(), icon(...EYE), labels.show));
    }
    return [this.#face(scene.network, this.#maskedNumber(scene.lastFour)), this.#bar(...bar)];
  }

  #face(network: string, ...rows: Node[]): HTMLElement {
    const top = el("div", { class: "top" }, el("span", { class: "chip", hidden: true }), networkMark(network));
    return el("div", { class: "face" }, top, ...rows);
  }

  #bar(first?: Node, ...parts: Node[]): HTMLElement {
    const said = el("p", { class: "note said", role: "status", testid: "note" });
    return el("div", { class: "bar" }, ...(first === undefined ? [] : [first]), said, ...parts);
  }

  #number(scene: Extract<Scene, { at: "shown" }>): HTMLElement {
    const { pan } = scene.secrets;
    if (pan === undefined) return this.#maskedNumber(scene.lastFour);
    const { number, copyNumber } = this.#speech.labels;
    const parts = groups(pan, scene.network);
    // Read digit by digit, with a pause between groups; an image, so that it is not read twice.
    const label = `${number}: ${parts.map((group) => [...group].join(" ")).join(", ")}`;
    const digits = el("span", { class: "digits", testid: "pan", role: "img", label });
    digits.dir = "ltr";
    // A span for every digit, or iOS makes the number a telephone link.
    digits.append(...parts.map((group) => el("span", { class: "group" }, ...[...group].map((digit) => el("span", {}, digit)))));
    const row = el("div", { class: pan.length > 16 ? "number long" : "number" }, digits);
    if (scene.copy.includes("pan")) {
      row.append(button({ class: "copy", testid: "copy-pan", label: copyNumber }, () => this.#actions?.copy("pan"), icon(...COPY)));
    }
    return row;
  }

  #maskedNumber(lastFour: string): HTMLElement {
    const dots = () => el("span", { class: "group" }, "••••");
    const label = fill(this.#speech.labels.numberEnding, "digits", [...lastFour].join(" "));
    const digits = el("span", { class: "digits masked" }, dots(), dots(), dots(), lastFour === "" ? dots() : el("span", { class: "group" }, lastFour));
    digits.dir = "ltr";
    digits.setAttribute("role", "img");
    digits.setAttribute("aria-label", lastFour === "" ? this.#speech.labels.hidden : label);
    return el("div", { class: "number" }, digits);
  }

  #details(scene: Extract<Scene, { at: "shown" }>): HTMLElement {
    const { labels } = this.#speech;
    const { expiry, name, cvv } = scene.secrets;
    const list = el("dl", { class: "details" });
    const add = (className: string, term: string, detail: HTMLElement) =>
      list.append(el("div", { class: className }, el("dt", {}, term), detail));
    if (name !== undefined) add("name", labels.name, el("dd", { testid: "name" }, name));
    if (expiry !== undefined) {
      const text = el("dd", { testid: "expiry" }, `${expiry.month}/${expiry.year.slice(-2)}`);
      text.dir = "ltr";
      add("expiry", labels.expiry, text);
    }
    if (scene.cvv !== "absent") add("cvv", labels.cvv, el("dd", { class: "cvv-slot" }, ...this.#cvvParts(scene.cvv, cvv)));
    return list;
  }

  #cvvParts(state: Cvv, value: string | undefined): HTMLElement[] {
    const { showCvv, showCvvShort, copyCvv } = this.#speech.labels;
    if (state === "shown" && value !== undefined) {
      const digits = el("span", { testid: "cvv", focusable: true }, ...[...value].map((digit) => el("span", {}, digit)));
      digits.dir = "ltr";
      if (!this.#copyable.includes("cvv")) return [digits];
      return [digits, button({ class: "copy", testid: "copy-cvv", label: copyCvv }, () => this.#actions?.copy("cvv"), icon(...COPY))];
    }
    const show = button({ class: "show-cvv", testid: "show-cvv", label: showCvv }, () => this.#actions?.showCvv());
    show.append(el("span", { class: "dots", hidden: true }, "•••"), showCvvShort);
    // Not `disabled`, which would drop the keyboard's focus while the answer is on its way.
    if (state !== "masked") show.setAttribute("aria-disabled", "true");
    if (state === "loading") show.setAttribute("aria-busy", "true");
    return [show];
  }

  #countdown(secs: number): HTMLElement {
    const ring = shape("svg", { viewBox: "0 0 20 20", class: "ring", "aria-hidden": "true" });
    const circle = { cx: "10", cy: "10", r: "8", pathLength: "1" };
    ring.append(shape("circle", { ...circle, class: "track" }), shape("circle", { ...circle, class: "left" }));
    const text = el("span", { testid: "countdown-text" }, fill(this.#speech.labels.hidesIn, "seconds", secs));
    // role=timer is silent unless asked: nobody wants to hear every second.
    return el("div", { class: "countdown", testid: "countdown", role: "timer" }, ring, text);
  }

  #hideButton(): HTMLElement {
    const hide = button({ class: "action", testid: "hide" }, () => this.#actions?.hide(), icon(...EYE_OFF), this.#speech.labels.hide);
    hide.dataset["next"] = "";
    return hide;
  }

  #failure({ failure, retryable }: Extract<Scene, { at: "failed" }>): HTMLElement {
    const { labels, errors } = this.#speech;
    const [title, advice] = errors[failure.code as FrameError];
    const box = el("div", { class: "failure", testid: "error", role: "alert" });
    box.append(el("span", { class: "badge", hidden: true }, "!"), el("p", { class: "title" }, title), el("p", { class: "advice" }, advice));
    if (failure.requestId !== undefined) box.append(el("p", { class: "reference" }, fill(labels.reference, "id", failure.requestId)));
    if (retryable) {
      const retry = button({ class: "action", testid: "retry" }, () => this.#actions?.retry(), labels.retry);
      retry.disabled = failure.retryAfterMs !== undefined;
      box.append(retry);
    }
    return box;
  }

  #note(text: string, long = true): void {
    const note = this.#find("note");
    if (note === null) return;
    note.textContent = text;
    note.classList.toggle("long", long);
  }

  #find(testid: string): HTMLElement | null {
    return this.#scene.querySelector<HTMLElement>(`[data-testid="cardveil-${testid}"]`);
  }
}

const COPY = ["M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1z", "M16 8V5a1 1 0 0 0-1-1H5a1 1 0 0 0-1 1v10a1 1 0 0 0 1 1h3"];
const CHECK = ["M5 12.5l4.5 4.5L19 7.5"];
const EYE = ["M2 12s3.6-7 10-7 10 7 10 7-3.6 7-10 7-10-7-10-7z", "M12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6z"];
const EYE_OFF = ["M10.6 5.1A10 10 0 0 1 12 5c6.4 0 10 7 10 7a17 17 0 0 1-3.2 4", "M6.5 6.6A16.5 16.5 0 0 0 2 12s3.6 7 10 7a10 10 0 0 0 5.4-1.6", "M9.9 9.9a3 3 0 0 0 4.2 4.2", "M3 3l18 18"];
