import { type Configuration, type Copyable, type Field, type ForFrame, type ForPage } from "@cardveil/protocol";
import type { World } from "./client.ts";
import type { Config } from "./config.ts";
import { Failure } from "./failure.ts";
import { type Release, Redemption } from "./redemption.ts";
import type { Secrets } from "./secrets.ts";
import type { View } from "./view.ts";
import { type FrameError, type Speech, wordsFor } from "./words/index.ts";

/** What a card needs of the browser. */
export interface Surroundings extends World {
  /** Calls back once, unless cancelled. */
  timer(ms: number, run: () => void): () => void;
  /** Writes to the clipboard and tells the truth about it. */
  copy(text: string): Promise<boolean>;
  /** Settles once what was rendered has been painted. */
  painted(): Promise<void>;
  visible(): boolean;
}

type State =
  | { at: "idle" }
  | { at: "waiting" } // for a token from the page
  | { at: "loading" }
  | { at: "shown"; secrets: Secrets; hidesAt: number; cvv: Cvv }
  | { at: "hidden" }
  | { at: "failed"; failure: Failure }
  | { at: "gone" };

/** `absent`: not asked for. `masked` means not fetched. `gone`: its time is over. */
export type Cvv = "absent" | "masked" | "loading" | "shown" | "gone";

/** Why the details are hidden. */
export type Because = "asked" | "time" | "left";

/**
 * The life of one card in the frame: from the page's `reveal` to digits on the screen and away again.
 *
 * **Invariant**: digits live in `State.shown` and in the view, and `#leave` is the only way out of that
 * state: it clears both.
 * **Invariant**: whatever was under way when a state was left is dropped when it arrives (`#turn`).
 */
export class Card {
  #state: State = { at: "idle" };
  #settings: Configuration | undefined;
  #speech: Speech = wordsFor("en", {});
  #redemption: Redemption | undefined;
  #tokens = 0;
  #turn = 0;
  #last = { lastFour: "", network: "" };
  #cancelTimers: (() => void)[] = [];

  constructor(
    private readonly config: Config,
    private readonly around: Surroundings,
    private readonly view: View,
    private readonly post: (message: ForPage) => void,
  ) {
    view.on({
      show: () => this.reveal(),
      retry: () => this.#retry(),
      hide: () => this.hide("asked"),
      showCvv: () => void this.#showCvv(),
      copy: (field) => void this.#copy(field),
    });
  }

  /** Obeys the page. Answers whether a `configure` has been taken, so that the frame can say `ready`. */
  receive(message: ForFrame): boolean {
    switch (message.type) {
      case "configure":
        return this.#configure(message);
      case "token":
        this.#redeem(message.token);
        break;
      case "noToken":
        if (this.#state.at === "waiting") this.#fail(new Failure(message.code));
        break;
      case "reveal":
        this.reveal();
        break;
      case "hide":
        this.hide("asked");
        break;
      case "destroy":
        this.destroy();
    }
    return false;
  }

  reveal(): void {
    const { at } = this.#state;
    if (this.#settings === undefined || at === "waiting" || at === "loading" || at === "shown" || at === "gone") return;
    if (!this.around.visible()) return this.#hidden("left");
    if (this.#redemption?.repeatable) return void this.#load(this.#redemption, true);
    this.#askForToken();
  }

  /** Clears the digits, now. What is being fetched is dropped when it arrives. */
  hide(because: Because): void {
    const { at } = this.#state;
    if (at === "shown") {
      this.#redemption?.report(because === "time" ? "expired" : "hidden");
      this.#hidden(because);
      if (because === "time") this.post({ type: "expired" });
      this.post({ type: "hidden" });
    } else if (at === "waiting" || at === "loading" || (at === "idle" && this.#settings !== undefined)) {
      this.#hidden(because);
    }
  }

  /** Hides and forgets the token and its key as well: the document is going away or into a cache. */
  leave(): void {
    this.hide("left");
    this.#redemption = undefined;
  }

  destroy(): void {
    this.leave();
    this.#enter({ at: "gone" });
    this.view.clear();
  }

  #configure(settings: Configuration): boolean {
    if (this.#settings !== undefined) return false;
    this.#settings = settings;
    this.#speech = wordsFor(settings.locale, settings.labels);
    this.view.configure(this.#speech, settings.appearance);
    this.view.render({ at: "loading" }); // the page says next whether to reveal or to hide
    return true;
  }

  #askForToken(): void {
    this.#redemption = undefined;
    this.#enter({ at: "waiting" });
    this.view.render({ at: "loading" });
    this.post({ type: "needToken" });
  }

  #redeem(token: string): void {
    if (this.#state.at !== "waiting") return;
    this.#tokens += 1;
    void this.#load(Redemption.begin(this.around, this.config.embed, token));
  }

  async #load(begun: Redemption | Promise<Redemption>, again = false): Promise<void> {
    const turn = this.#enter({ at: "loading" });
    this.view.render({ at: "loading" });
    try {
      const redemption = await begun;
      if (turn !== this.#turn) return;
      this.#redemption = redemption;
      // Masked means not fetched: the CVV waits for its own click.
      const fields = this.#configured().fields.filter((field) => field !== "cvv");
      const release = fields.length > 0 ? await redemption.release(fields) : { secrets: {}, cvv: true, ...this.#last };
      if (turn === this.#turn) await this.#show(release, fields);
    } catch (cause) {
      if (turn !== this.#turn) return;
      const failure = Failure.from(cause);
      // Our guess that the server still repeats itself was wrong; a new token is as good.
      if (again && failure.code === "token_refused") this.#askForToken();
      else this.#fail(failure);
    }
  }

  async #show(release: Release, fields: Field[]): Promise<void> {
    const { secrets, lastFour, network } = release;
    const settings = this.#configured();
    this.#last = { lastFour, network };
    const cvv: Cvv = settings.fields.includes("cvv") && release.cvv ? "masked" : "absent";
    const turn = this.#enter({ at: "shown", secrets, cvv, hidesAt: this.around.now() + settings.hideAfter * 1000 });
    const copy = settings.copy.filter((field) => this.config.copy[field]);
    this.view.render({ at: "shown", secrets, cvv, copy, fields: settings.fields, secs: settings.hideAfter, ...this.#last });
    this.view.announce(this.#speech.labels.shown);
    this.#tick();
    this.#closeWindow();
    if (fields.length > 0) await this.#displayed(turn, fields);
  }

  async #displayed(turn: number, fields: Field[], field?: Field): Promise<void> {
    const redemption = this.#redemption;
    this.post({ type: "revealed", fields });
    await this.around.painted();
    if (turn === this.#turn) redemption?.report("displayed", field);
  }

  async #showCvv(): Promise<void> {
    const state = this.#state;
    const redemption = this.#redemption;
    if (state.at !== "shown" || state.cvv !== "masked" || redemption === undefined) return;
    const turn = this.#turn;
    const change = (cvv: Cvv, note?: string) => {
      state.cvv = cvv;
      this.view.cvv(cvv, state.secrets.cvv, note);
    };
    change("loading");
    try {
      const { secrets } = await redemption.release(["cvv"]);
      if (turn !== this.#turn) return;
      if (secrets.cvv !== undefined) state.secrets.cvv = secrets.cvv;
      change("shown");
      await this.#displayed(turn, ["cvv"], "cvv");
    } catch (cause) {
      if (turn !== this.#turn) return;
      const failure = Failure.from(cause);
      // The card stays: what cannot be had is the CVV alone.
      if (failure.retryable) change("masked", this.#speech.errors[failure.code as FrameError].join(". "));
      else change("gone", this.#speech.labels.cvvGone);
      this.#postError(failure, failure.retryable);
    }
  }

  async #copy(field: Copyable): Promise<void> {
    const text = this.#state.at === "shown" ? this.#state.secrets[field] : undefined;
    if (text === undefined) return;
    const turn = this.#turn;
    const done = await this.around.copy(text);
    if (turn === this.#turn) this.view.copied(field, done);
    if (done) {
      if (turn === this.#turn) this.#after(COPIED_SHOWN_MS, () => this.view.forgetCopied(field));
      this.#redemption?.report("copied", field);
      this.post({ type: "copied", field });
    } else {
      this.post({ type: "error", code: "copy_failed", message: this.#speech.labels.copyFailed, retryable: true });
    }
  }

  #retry(): void {
    const state = this.#state;
    if (state.at !== "failed") return;
    // An answer that got lost is asked for again by the same key; the token may be bound to it.
    const lost = state.failure.retryable && this.#redemption;
    if (lost) void this.#load(lost);
    else this.#askForToken();
  }

  #fail(failure: Failure): void {
    const retryable = failure.retryable || (NEW_TOKEN_HELPS.has(failure.code) && this.#configured().renewable);
    if (!failure.retryable) this.#redemption = undefined;
    this.#enter({ at: "failed", failure });
    this.view.render({ at: "failed", failure, retryable });
    if (failure.retryAfterMs !== undefined) this.#after(failure.retryAfterMs, () => this.view.allowRetry());
    this.#postError(failure, retryable);
  }

  #postError(failure: Failure, retryable: boolean): void {
    const { code, requestId } = failure;
    const message = this.#speech.errors[code as FrameError].join(". ");
    this.post({ type: "error", code, message, retryable, ...(requestId === undefined ? {} : { requestId }) });
  }

  #hidden(because: Because): void {
    this.#enter({ at: "hidden" });
    const showable = this.#configured().renewable || this.#tokens === 0 || (this.#redemption?.repeatable ?? false);
    this.view.render({ at: "hidden", because, showable, ...this.#last });
    this.view.announce(this.#speech.labels.hidden);
  }

  #tick(): void {
    if (this.#state.at !== "shown") return;
    const leftMs = this.#state.hidesAt - this.around.now();
    if (leftMs <= 0) return this.hide("time");
    this.view.tick(Math.ceil(leftMs / 1000));
    this.#after(leftMs % 1000 || 1000, () => this.#tick());
  }

  /** Takes the offer of a CVV away when the server would no longer release it. */
  #closeWindow(): void {
    const endsAt = this.#redemption?.windowEndsAt;
    if (endsAt === undefined) return;
    this.#after(endsAt - this.around.now(), () => {
      if (this.#state.at !== "shown" || this.#state.cvv !== "masked") return;
      this.#state.cvv = "gone";
      this.view.cvv("gone", undefined, this.#speech.labels.cvvGone);
    });
  }

  #after(ms: number, run: () => void): void {
    this.#cancelTimers.push(this.around.timer(Math.max(ms, 0), run));
  }

  /** The one way from state to state: what the old one held is cleared, what it awaited is dropped. */
  #enter(next: State): number {
    const old = this.#state;
    if (old.at === "shown") for (const field of Object.keys(old.secrets)) delete old.secrets[field as Field];
    for (const cancel of this.#cancelTimers.splice(0)) cancel();
    this.#state = next;
    this.#turn += 1;
    return this.#turn;
  }

  #configured(): Configuration {
    if (this.#settings === undefined) throw new Failure("internal");
    return this.#settings;
  }
}

const COPIED_SHOWN_MS = 3000;
const NEW_TOKEN_HELPS: ReadonlySet<string> = new Set(["token_refused", "token_failed", "header_mismatch"]);
