import type { Appearance, Field } from "@cardveil/protocol";
import { button, el, icon } from "./dom.ts";
import { dress } from "./dress.ts";
import { networkMark } from "./network.ts";
import {
  absent,
  CHECK,
  COPY,
  EYE,
  EYE_OFF,
  hidden,
  hidesIn,
  maskedNumber,
  number,
  showButton,
  text,
} from "./pieces.ts";
import { type Secrets, written } from "./secrets.ts";
import type { Actions, Asking, FieldState, Known, Scene, Stage } from "./stage.ts";
import {
  about,
  fill,
  nameOf,
  sentenceOf,
  type Speech,
  type Spoken,
  wordsFor,
} from "./words/index.ts";

/**
 * Draws the scenes of a whole card.
 *
 * **Invariant**: each scene replaces the one before, nodes and all, so digits are gone from the
 * document as soon as another scene is drawn. The live region tells of them and never holds them.
 */
export class View implements Stage {
  readonly #live = el("p", { class: "unseen", role: "status" });
  #scene = el("div");
  #speech: Speech;
  #actions: Actions | undefined;
  #copyable: readonly Field[] = [];
  #masked: readonly Field[] = [];
  #appearance: Appearance = { theme: "auto" };
  #known: Partial<Known> = {};
  /** Called with each scene, and each second of one, for looks that take more than a style. */
  wear: (appearance: Appearance, known: Partial<Known>) => void = () => {};

  constructor(
    private readonly root: HTMLElement,
    words: Spoken,
  ) {
    this.#speech = wordsFor(words, words.lang, {});
    root.replaceChildren(this.#scene, this.#live);
  }

  on(actions: Actions): void {
    this.#actions = actions;
  }

  configure(speech: Speech, appearance: Appearance): void {
    this.#speech = speech;
    this.#appearance = appearance;
    dress(speech, appearance);
  }

  render(scene: Scene | Asking): void {
    this.#wear("network" in scene ? scene : undefined);
    const focused = this.#scene.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset["testid"]
      : undefined;
    const next = el("div", {
      // Where other fields than one have switches, each has less room.
      class: scene.at === "shown" && scene.masked.length > 1 ? "card tight" : "card",
      testid: "card",
      role: "group",
      label: this.#speech.labels.card,
    });
    next.dataset["state"] = scene.at;
    next.tabIndex = -1;
    next.append(...this.#draw(scene));
    next.setAttribute("aria-busy", String(scene.at === "loading"));
    this.#scene.replaceWith(next);
    this.#scene = next;
    this.#live.textContent =
      scene.at === "loading" ? (scene.note ?? this.#speech.labels.loading) : "";
    if (scene.at === "loading" && scene.note !== undefined) this.#note(scene.note);
    // The button that had the focus is gone; without this a keyboard would start again at the top.
    // While there is nothing to press, the card itself keeps it.
    if (focused === undefined) return;
    const same = this.#find(focused.replace(/^cardveil-/, ""));
    (same ?? this.#find("hide") ?? next.querySelector<HTMLElement>("input, button") ?? next).focus({
      preventScroll: true,
    });
  }

  clear(): void {
    this.root.replaceChildren();
  }

  announce(text: string): void {
    this.#live.textContent = text;
  }

  tick(secs: number): void {
    this.#wear(); // in the scheme of this second
    const countdown = this.#find("countdown");
    if (countdown !== null) countdown.textContent = hidesIn(this.#speech, secs);
  }

  field(field: Field, state: FieldState, of: Known & { secrets: Secrets }, note = ""): void {
    // Of a card that is masked throughout, the first field that comes brings these along.
    this.#wear(of);
    this.#scene.querySelector(".network")?.replaceWith(networkMark(of.network));
    this.#scene.querySelector(".number .masked")?.replaceWith(maskedNumber(this.#speech, of));
    const slot = this.#scene.querySelector(`.${field}-slot`);
    const focused = slot?.contains(document.activeElement) ?? false;
    slot?.replaceChildren(...this.#slot(field, state, of));
    if (focused)
      (
        slot?.querySelector<HTMLElement>(`[data-testid=cardveil-${field}][tabindex], button`) ??
        this.#find("hide")
      )?.focus();
    this.#note(note);
  }

  copied(field: Field, done: boolean): void {
    const { copied, copyFailed } = this.#speech.labels;
    this.#note(done ? copied : copyFailed);
    this.#find(`copy-${field}`)?.replaceChildren(icon(...(done ? CHECK : COPY)));
  }

  /** Some seconds after `copied`. */
  forgetCopied(field: Field): void {
    this.#note("");
    this.#find(`copy-${field}`)?.replaceChildren(icon(...COPY));
  }

  retryIn(secs: number): void {
    const { retry, retryIn } = this.#speech.labels;
    const button = this.#find("retry");
    if (button === null) return;
    button.textContent = secs > 0 ? fill(retryIn, "seconds", secs) : retry;
    // Not `disabled`, which would drop the keyboard's focus.
    button.setAttribute("aria-disabled", String(secs > 0));
  }

  #wear(known = this.#known): void {
    this.#known = known;
    this.wear(this.#appearance, known);
  }

  #draw(scene: Scene | Asking): Node[] {
    switch (scene.at) {
      case "loading":
        return [this.#blank(scene), this.#bar()];
      case "shown":
        this.#copyable = scene.copy;
        this.#masked = scene.masked;
        return [
          this.#face(scene, this.#number(scene), this.#details(scene)),
          this.#bar(this.#countdown(scene.secs), this.#hideButton()),
        ];
      case "hidden":
        return this.#hiddenScene(scene);
      case "failed":
        return [this.#failure(scene)];
      case "asking":
        return [scene.form];
    }
  }

  #hiddenScene(scene: Extract<Scene, { at: "hidden" }>): Node[] {
    const { labels } = this.#speech;
    const because = {
      asked: labels.hidden,
      time: labels.hiddenByTime,
      left: labels.hiddenByLeaving,
    }[scene.because];
    const bar: HTMLElement[] = [
      el("p", { class: isLong(because) ? "note long" : "note" }, because),
    ];
    if (scene.showable) {
      bar.push(
        button(
          { class: "action", testid: "show", label: labels.show },
          () => this.#actions?.show(),
          icon(...EYE),
          el("span", { class: "wide" }, labels.show),
          el("span", { class: "narrow" }, labels.showShort),
        ),
      );
    }
    return [this.#blank(scene), this.#bar(...bar)];
  }

  /** A face without its details, each in its place. */
  #blank(scene: Extract<Scene, { at: "loading" | "hidden" }>): HTMLElement {
    const list = el("dl", { class: "details" });
    for (const field of DETAILS) {
      if (scene.fields.includes(field))
        list.append(
          el(
            "div",
            { class: field },
            el("dt", {}, nameOf(this.#speech, field)),
            el("dd", {}, hidden(this.#speech, field, scene)),
          ),
        );
    }
    return this.#face(
      scene,
      el("div", { class: "number" }, maskedNumber(this.#speech, scene)),
      list,
    );
  }

  #face({ network }: Known, ...rows: Node[]): HTMLElement {
    const top = el(
      "div",
      { class: "top" },
      el("span", { class: "chip", hidden: true }),
      el("span", { class: "label" }, this.#appearance.label ?? ""),
      networkMark(network),
    );
    return el("div", { class: "face" }, top, ...rows);
  }

  #bar(first?: Node, ...parts: Node[]): HTMLElement {
    const said = el("p", { class: "note said", role: "status", testid: "note" });
    return el("div", { class: "bar" }, ...(first === undefined ? [] : [first]), said, ...parts);
  }

  #number(scene: Shown): HTMLElement {
    const row = el("div", { class: "number pan-slot" });
    const state = scene.states.pan;
    if (state === undefined) row.append(maskedNumber(this.#speech, scene));
    else row.append(...this.#slot("pan", state, scene));
    return row;
  }

  #details(scene: Shown): HTMLElement {
    const list = el("dl", { class: "details" });
    for (const field of DETAILS) {
      const state = scene.states[field];
      if (state === undefined || state === "absent") continue;
      const detail = el("dd", { class: `${field}-slot` }, ...this.#slot(field, state, scene));
      list.append(el("div", { class: field }, el("dt", {}, nameOf(this.#speech, field)), detail));
    }
    return list;
  }

  /** A field and its buttons. */
  #slot(field: Field, state: FieldState, of: Known & { secrets: Secrets }): HTMLElement[] {
    if (state === "absent")
      return [field === "pan" ? maskedNumber(this.#speech, of) : absent(this.#speech, field)];
    const value = written(of.secrets, field);
    if (state !== "shown" || value === undefined) {
      return [
        hidden(this.#speech, field, of),
        showButton(this.#speech, field, state, () => this.#actions?.showField(field)),
      ];
    }
    const parts = [
      field === "pan"
        ? number(this.#speech, value, of.network)
        : text(field, value, this.#masked.includes(field)),
    ];
    if (this.#copyable.includes(field)) {
      const label = about(this.#speech, "copyField", field);
      parts.push(
        button(
          { class: "copy", testid: `copy-${field}`, label },
          () => this.#actions?.copy(field),
          icon(...COPY),
        ),
      );
    }
    if (this.#masked.includes(field)) {
      const label = about(this.#speech, "hideField", field);
      parts.push(
        button(
          { class: "copy", testid: `hide-${field}`, label },
          () => this.#actions?.hideField(field),
          icon(...EYE_OFF),
        ),
      );
    }
    return parts;
  }

  #countdown(secs: number): HTMLElement {
    // role=timer is silent unless asked: nobody wants to hear every second.
    return el(
      "div",
      { class: "countdown", testid: "countdown", role: "timer" },
      hidesIn(this.#speech, secs),
    );
  }

  #hideButton(): HTMLElement {
    return button(
      { class: "action", testid: "hide" },
      () => this.#actions?.hide(),
      icon(...EYE_OFF),
      this.#speech.labels.hide,
    );
  }

  #failure({ failure, retryable }: Extract<Scene, { at: "failed" }>): HTMLElement {
    const { labels } = this.#speech;
    const [title, advice] = sentenceOf(this.#speech, failure);
    const box = el("div", { class: "failure", testid: "error", role: "alert" });
    box.append(
      el("span", { class: "badge", hidden: true }, "!"),
      el("p", { class: "title" }, title),
      el("p", { class: "advice" }, advice),
    );
    if (failure.requestId !== undefined)
      box.append(el("p", { class: "reference" }, fill(labels.reference, "id", failure.requestId)));
    if (retryable) {
      box.append(
        button({ class: "action", testid: "retry" }, () => this.#actions?.retry(), labels.retry),
      );
    }
    return box;
  }

  #note(text: string): void {
    const note = this.#find("note");
    if (note === null) return;
    note.textContent = text;
    note.classList.toggle("long", isLong(text));
  }

  #find(testid: string): HTMLElement | null {
    return this.#scene.querySelector<HTMLElement>(`[data-testid="cardveil-${testid}"]`);
  }
}

/** Whether a text beside a button takes more than two lines on a phone. */
const isLong = (text: string) => text.length > 28;

const DETAILS = ["name", "expiry", "cvv"] as const;
type Shown = Extract<Scene, { at: "shown" }>;
