/**
 * Asks the cardholder for their second factor, in the place of the card that opens after it. It is
 * a script of its own (entry/code.ts): only the frames of programmes that ask load it.
 *
 * **Invariant**: it holds no card data, and no code for longer than its form shows it.
 */
import type { Field, ForPage } from "@cardveil/protocol";
import type { Surroundings } from "./card.ts";
import { ask } from "./client.ts";
import { button, el } from "./dom.ts";
import type { Failure } from "./failure.ts";
import type { Redemption, Release } from "./redemption.ts";
import { type FactorWords, FACTOR_WORDS } from "./second-factor-words.ts";
import { fill, languageOf, type FrameError, type Speech } from "./words/index.ts";

/** Settles with the card, or with what only another token mends. */
export type AskFactor = (
  redemption: Redemption,
  fields: readonly Field[],
  speech: Speech,
  around: Surroundings,
  /** Puts the form where the card is going to be. */
  place: (form: HTMLElement) => void,
  post: (message: ForPage) => void,
) => Promise<Release>;

declare global {
  /** There where the frame can ask. */
  interface Window {
    cardveilCode: AskFactor | undefined;
  }
}

/** What the server grants one challenge (docs/integrate/mfa.md). */
const TRIES = 5;

export const askFactor: AskFactor = (...asked) =>
  new Promise((done, failed) => void new Form(asked, done, failed).begin());

/**
 * What each token was asked for with, and how many tries that has left: whoever hides the form comes
 * back to the same challenge.
 */
const challenges = new WeakMap<Redemption, { challenge: string; left: number }>();

class Form {
  readonly #redemption: Redemption;
  readonly #fields: readonly Field[];
  readonly #speech: Speech;
  readonly #around: Surroundings;
  readonly #put: (form: HTMLElement) => void;
  readonly #post: (message: ForPage) => void;
  readonly #words: FactorWords;
  readonly #input = el("input", { testid: "code" });
  readonly #error = el("p", { testid: "code-error", role: "alert" });
  readonly #confirm: HTMLButtonElement;
  #busy = false;
  #expiresAt = 0;

  constructor(
    asked: Parameters<AskFactor>,
    private readonly done: (release: Release) => void,
    private readonly failed: (cause: unknown) => void,
  ) {
    [this.#redemption, this.#fields, this.#speech, this.#around, this.#put, this.#post] = asked;
    this.#words = FACTOR_WORDS[languageOf(this.#speech.lang)] ?? FACTOR_WORDS.en;
    const confirm = () => void this.#submit();
    this.#confirm = button({ class: "action", testid: "confirm" }, confirm, this.#words.confirm);
    // No form that a browser submits: a page may sandbox its frames without forms.
    this.#input.addEventListener("keydown", ({ key }) => {
      if (key === "Enter") confirm();
    });
  }

  /** Has the cardholder asked, and shows the form. */
  async begin(anew = false): Promise<void> {
    if (this.#busy) return;
    this.#work(true);
    try {
      const factor = await this.#challenge(anew);
      if (factor === undefined) this.done(await this.#redemption.release(this.#fields));
      else this.#ask(factor);
    } catch (cause) {
      this.#notAsked(cause as Failure);
    } finally {
      this.#work(false);
    }
  }

  #notAsked(failure: Failure): void {
    if (failure.code === "factor_unavailable") this.#unavailable();
    else if (failure.retryAfterMs !== undefined)
      this.#wait(this.#around.now() + failure.retryAfterMs);
    else this.failed(failure);
  }

  /** What is waited for; nothing where the token has been opened meanwhile. */
  async #challenge(anew: boolean): Promise<"TOTP" | "OTP" | undefined> {
    const known = anew ? undefined : challenges.get(this.#redemption);
    const { challenge } = known ?? { challenge: this.#around.uuid() };
    const { factor, expiresAt } = await ask(
      this.#around,
      "challenge",
      this.#redemption.request({ challenge }),
      async (answer, now) => {
        const { factor, expires_at } = await answer.json();
        const serverNow = Date.parse(answer.headers.get("date") ?? "") || now;
        return { factor, expiresAt: now + Date.parse(expires_at) - serverNow };
      },
    );
    // Not before: a code of the one that was there is good where no other was asked for.
    if (known === undefined) challenges.set(this.#redemption, { challenge, left: TRIES });
    this.#expiresAt = expiresAt;
    return factor;
  }

  get #asked() {
    return challenges.get(this.#redemption) ?? { challenge: "", left: 0 };
  }

  #ask(factor: "TOTP" | "OTP"): void {
    const words = this.#words;
    const advice = el("p", { class: "advice" }, factor === "TOTP" ? words.app : words.sent);
    const label = el("label", {}, words.digits, this.#input);
    const buttons = el("div", {}, this.#confirm);
    if (factor === "OTP")
      buttons.append(
        button({ class: "action", testid: "send-code" }, () => void this.#again(), words.again),
      );
    advice.id = "code-advice";
    this.#error.id = "code-error";
    Object.assign(this.#input, {
      type: "text",
      inputMode: "numeric",
      autocomplete: "one-time-code",
      required: true,
      value: "",
    });
    this.#input.setAttribute("aria-describedby", `${advice.id} ${this.#error.id}`);
    this.#say("");
    Object.assign(label.style, { display: "grid", gap: "4px", fontSize: "0.875rem" });
    Object.assign(this.#input.style, INPUT);
    // Room for two lines, so that nothing moves when they come.
    Object.assign(this.#error.style, {
      fontSize: "0.875rem",
      lineHeight: "1.3",
      minHeight: "2.6em",
    });
    Object.assign(buttons.style, { display: "flex", flexWrap: "wrap", gap: "8px" });
    this.#place(words.title, advice, label, this.#error, buttons);
    // Where the cardholder is at work in this frame, and not in the page around it.
    if (document.hasFocus()) this.#input.focus({ preventScroll: true });
  }

  async #submit(): Promise<void> {
    if (this.#busy) return;
    const words = this.#words;
    const code = this.#input.value.replace(/\s/g, "");
    if (!/^\d{6}$/.test(code)) return this.#say(words.all);
    this.#work(true);
    try {
      const { challenge } = this.#asked;
      this.done(await this.#redemption.release(this.#fields, { challenge, code }));
      this.#input.value = "";
    } catch (cause) {
      const failure = cause as Failure;
      if (failure.code === "mfa_refused") return this.#wrong();
      this.#work(false);
      // The answer may have been lost: the same code opens the card then, too.
      if (failure.retryable) return this.#say(this.#sentence(failure));
      this.failed(cause);
    }
  }

  async #wrong(): Promise<void> {
    const words = this.#words;
    const left = (this.#asked.left -= 1);
    this.#input.value = "";
    // Nobody tells what was wrong with a code; who has to wait is told, also for wrong ones elsewhere.
    const refused = await this.#challenge(false).catch((cause: Failure) => cause);
    this.#work(false);
    if (typeof refused === "object" && refused.retryAfterMs !== undefined)
      return this.#wait(this.#around.now() + refused.retryAfterMs);
    if (this.#around.now() >= this.#expiresAt) return this.#ended(words.over);
    this.#say(`${words.wrong} ${fill(words.left, "tries", Math.max(left, 0))}`);
  }

  async #again(): Promise<void> {
    if (this.#busy) return;
    this.#work(true);
    try {
      await this.#challenge(true);
      this.#input.value = "";
      this.#say(this.#words.another, false);
    } catch (cause) {
      const failure = cause as Failure;
      // The code that is on its way is still good.
      if (failure.retryable && failure.retryAfterMs === undefined)
        this.#say(this.#sentence(failure));
      else this.#notAsked(failure);
    } finally {
      this.#work(false);
    }
  }

  /** No code passes any more: another challenge begins anew. */
  #ended(title: string): void {
    const again = button(
      { class: "action", testid: "restart" },
      () => void this.begin(true),
      this.#words.restart,
    );
    this.#place(title, again);
    if (document.hasFocus()) again.focus({ preventScroll: true });
  }

  #wait(until: number): void {
    const words = this.#words;
    const advice = el("p", { class: "advice", role: "status" });
    const form = this.#place(words.tooOften, advice);
    const tick = () => {
      const leftMs = until - this.#around.now();
      if (leftMs <= 0) return void (form.isConnected && this.#ended(words.title));
      const secs = Math.ceil(leftMs / 1000);
      const [count, unit] = secs > 90 ? [Math.ceil(secs / 60), "minute"] : [secs, "second"];
      const { lang } = this.#speech;
      const style = { style: "unit", unit, unitDisplay: "long" } as const;
      const said = fill(words.comeBack, "time", new Intl.NumberFormat(lang, style).format(count));
      // A screen reader hears each change of the words, and not each second.
      if (advice.textContent !== said) advice.textContent = said;
      this.#around.timer(unit === "minute" ? 10_000 : 1000, tick);
    };
    tick();
  }

  #unavailable(): void {
    const { locked, lockedAdvice } = this.#words;
    this.#place(locked, el("p", { class: "advice" }, lockedAdvice)).setAttribute("role", "alert");
    const message = `${locked}. ${lockedAdvice}`;
    this.#post({ type: "error", code: "factor_unavailable", message, retryable: false });
  }

  #place(title: string, ...rest: Node[]): HTMLElement {
    const form = el("div", { class: "failure", testid: "code-form", role: "form", label: title });
    form.append(el("p", { class: "title" }, title), ...rest);
    form.style.paddingBlock = "12px";
    this.#put(form);
    return form;
  }

  #work(busy: boolean): void {
    this.#busy = busy;
    // Not `disabled`, which would drop the keyboard's focus.
    this.#confirm.setAttribute("aria-disabled", String(busy));
    this.#input.readOnly = busy;
  }

  #say(text: string, isWrong = text !== ""): void {
    this.#error.textContent = text;
    this.#error.style.color = isWrong ? "var(--bad)" : "inherit";
    this.#input.setAttribute("aria-invalid", String(isWrong));
    if (isWrong) this.#input.focus({ preventScroll: true });
  }

  #sentence({ code }: Failure): string {
    return this.#speech.errors[code as FrameError]?.join(". ") ?? this.#words.locked;
  }
}

const INPUT = {
  boxSizing: "border-box",
  width: "100%",
  maxWidth: "14rem",
  minHeight: "44px",
  padding: "0 12px",
  border: "1px solid var(--ink-soft)",
  borderRadius: "min(var(--radius), 12px)",
  background: "var(--control)",
  color: "var(--ink)",
  font: "inherit",
  fontSize: "1.25rem",
  fontVariantNumeric: "tabular-nums",
  letterSpacing: "0.2em",
  direction: "ltr",
};
