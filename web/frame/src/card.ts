import type {
  Changes,
  Configuration,
  ErrorCode,
  Field,
  ForFrame,
  ForPage,
  Hindrance,
} from "@cardveil/protocol";
import type { World } from "./client.ts";
import type { Config } from "./config.ts";
import { Failure } from "./failure.ts";
import { Redemption, type Release } from "./redemption.ts";
import type { AskFactor } from "./second-factor.ts";
import { type Secrets, written } from "./secrets.ts";
import { isHindrance, type Sighting } from "./sight.ts";
import type { Because, FieldState, FieldStates, Known, Scene, Stage } from "./stage.ts";
import { about, sentenceOf, type Speech, wordsFor } from "./words/index.ts";
import { Tongue } from "./words/tongue.ts";

/** What a card needs of the browser. */
export interface Surroundings extends World {
  /** Calls back once, unless cancelled. */
  timer(ms: number, run: () => void): () => void;
  /** Writes to the clipboard and tells the truth about it. */
  copy(text: string): Promise<boolean>;
  /** Settles once what was rendered has been painted. */
  painted(): Promise<void>;
  visible(): boolean;
  /** Whether what is rendered can be seen. */
  sight: Sighting;
  /** Asks the cardholder for a second factor, where this frame can and has room for a form. */
  askFactor?: AskFactor | undefined;
}

type State =
  | { at: "idle" }
  | { at: "loading" }
  /** `since` the first field came; none where all wait for their clicks. */
  | { at: "shown"; secrets: Secrets; since?: number; fields: FieldStates }
  | { at: "hidden" }
  | { at: "failed"; failure: Failure }
  | { at: "gone" };

/**
 * The life of one card in the frame: from the page's `reveal` to digits on the screen and away
 * again.
 *
 * **Invariant**: digits live in `State.shown` and on the stage, and `#enter` is the only way out of
 * that state: it clears the one, and every scene replaces the other.
 * **Invariant**: whatever was under way when a state was left is dropped when it arrives (`#turn`).
 * **Invariant**: an `update` changes how the card looks and speaks, and when it hides: nothing is
 * asked for, and however often it comes, the card is shown for `hideAfter` from when its first
 * field was shown, and no longer.
 * **Invariant**: nothing is asked for, of the page or of the server, and nothing is said to be
 * displayed, before the frame can be seen (`#seen`), where the browser can tell.
 */
export class Card {
  #state: State = { at: "idle" };
  #settings: Configuration | undefined;
  #speech: Speech;
  readonly #tongue: Tongue;
  #scene: Scene | undefined;
  #redemption: Redemption | undefined;
  /** Who waits for a token from the page. */
  #asked: { give(token: string): void; refuse(failure: Failure): void } | undefined;
  #obtaining: Promise<Redemption> | undefined;
  #tokens = 0;
  #turn = 0;
  /** Whether the cardholder is asked for a second factor. */
  #asking = false;
  #last: Known = { lastFour: "", network: "" };
  #cancelTimers: (() => void)[] = [];
  #cancelTick = () => {};

  constructor(
    private readonly config: Config,
    private readonly around: Surroundings,
    private readonly stage: Stage,
    private readonly post: (message: ForPage) => void,
  ) {
    this.#speech = wordsFor(config.words, config.words.lang, {});
    this.#tongue = new Tongue(config, around);
    stage.on({
      show: () => this.reveal(),
      retry: () => this.#retry(),
      hide: () => this.hide("asked"),
      showField: (field) => void this.#showField(field),
      hideField: (field) => this.#hideField(field),
      copy: (field) => void this.#copy(field),
      copied: (field, done) => this.#copied(field, done),
    });
  }

  /** Obeys the page. */
  receive(message: ForFrame): void {
    switch (message.type) {
      case "configure":
        this.#configure(message);
        break;
      case "update":
        this.#update(message);
        break;
      case "token":
        this.#asked?.give(message.token);
        break;
      case "noToken":
        this.#asked?.refuse(new Failure("token_failed"));
        break;
      case "reveal":
        this.reveal();
        break;
      case "hide":
        this.hide("asked");
        break;
      case "destroy":
        this.destroy();
        break;
      case "ground": // the document's own
      case "part": // for a frame of another kind
    }
  }

  /** The name of the card in the words of its frame. */
  get title(): string {
    return this.#speech.labels.card;
  }

  reveal(): void {
    const { at } = this.#state;
    if (this.#settings === undefined || at === "loading" || at === "shown" || at === "gone") return;
    if (!this.around.visible()) return this.#hidden("left");
    void this.#load();
  }

  /** Clears the digits, now. What is being fetched is dropped when it arrives. */
  hide(because: Because): void {
    // Whoever looks for the code in another app comes back to the form, which holds nothing.
    if (this.#asking && because === "left") return;
    const { at } = this.#state;
    if (at === "shown") {
      this.#redemption?.report(because === "time" ? "expired" : "hidden");
      this.#hidden(because);
      if (because === "time") this.post({ type: "expired" });
      this.post({ type: "hidden" });
    } else if (at === "loading" || (at === "idle" && this.#settings !== undefined)) {
      this.#hidden(because);
    }
  }

  /** Hides and forgets the token as well: the document is going away or into a cache. */
  leave(): void {
    this.#asking = false;
    this.hide("left");
    this.#redemption = undefined;
  }

  destroy(): void {
    this.leave();
    this.#enter({ at: "gone" });
    this.stage.clear();
  }

  #configure(settings: Configuration): void {
    if (this.#settings !== undefined) return;
    this.#settings = settings;
    this.#speak();
    this.#renderLoading(); // the page says next whether to reveal or to hide
  }

  #update({ type: _, ...changes }: ForFrame & { type: "update" } & Changes): void {
    if (this.#settings === undefined || this.#state.at === "gone") return;
    this.#settings = { ...this.#settings, ...changes };
    this.#speakAnew();
    this.#tick();
  }

  #speak(): void {
    const { locale, labels, appearance } = this.#configured();
    this.#speech = this.#tongue.speak(locale, labels, () => this.#speakAnew());
    this.stage.configure(this.#speech, appearance);
  }

  /** Draws what is there once more, in other words and looks. */
  #speakAnew(): void {
    if (this.#state.at === "gone") return;
    const { title } = this;
    this.#speak();
    if (this.title !== title) this.post({ type: "title", title: this.title });
    const scene = this.#scene;
    if (scene?.at === "shown")
      this.#render({ ...scene, copy: this.#copyable(), secs: this.#secsLeft() });
    else if (scene?.at === "loading" && scene.note !== undefined)
      this.#renderLoading(this.#speech.labels.covered);
    else if (scene !== undefined) this.#render(scene);
  }

  #render(scene: Scene): void {
    this.#scene = scene;
    if (!this.#asking) this.stage.render(scene);
  }

  #renderLoading(note?: string): void {
    this.#render({
      at: "loading",
      fields: this.#configured().fields,
      ...this.#last,
      ...(note === undefined ? {} : { note }),
    });
  }

  async #load(): Promise<void> {
    const turn = this.#enter({ at: "loading" });
    this.#renderLoading();
    const { fields, masked } = this.#configured();
    // Masked means not fetched: such a field waits for its own click.
    const wanted = fields.filter((field) => !masked.includes(field));
    const again = this.#redemption?.offers(wanted) ?? false;
    try {
      if (wanted.length === 0) return this.#show(wanted, {}, fields);
      if (this.around.sight.hidden) await this.#seen();
      const redemption = await this.#obtain(wanted);
      if (turn !== this.#turn) return;
      // The token may have taken its time.
      if (this.around.sight.hidden) await this.#seen();
      const { secrets, there, left, ...known } = await this.#release(redemption, wanted);
      if (turn !== this.#turn) return;
      this.#last = known;
      this.#show(there, secrets, left);
    } catch (cause) {
      if (turn !== this.#turn) return;
      const failure = Failure.from(cause);
      // Our guess that the server still repeats itself was wrong; a new token is as good.
      if (again && failure.code === "token_refused" && this.#configured().renewable) {
        this.#redemption = undefined;
        void this.#load();
      } else this.#fail(failure);
    }
  }

  /**
   * The redemption at hand while it offers these fields; otherwise one of a token that the page
   * gives.
   */
  async #obtain(fields: readonly Field[]): Promise<Redemption> {
    if (this.#redemption?.offers(fields)) return this.#redemption;
    // Two fields may be clicked before the token is there: it is asked for once.
    this.#obtaining ??= this.#begin();
    return this.#obtaining;
  }

  async #begin(): Promise<Redemption> {
    const turn = this.#turn;
    this.#redemption = undefined;
    try {
      const token = await new Promise<string>((give, refuse) => {
        this.#asked = { give, refuse };
        this.post({ type: "needToken" });
      });
      this.#tokens += 1;
      this.#redemption = await Redemption.begin(this.around, this.config.embed, token);
      return this.#redemption;
    } finally {
      if (turn === this.#turn) this.#forget();
    }
  }

  /** Releases fields, after the second factor that the cardholder's programme may ask for. */
  async #release(redemption: Redemption, fields: readonly Field[]): Promise<Release> {
    const { askFactor } = this.around;
    const held = redemption.windowEndsAt !== undefined;
    if (held || !askFactor) return redemption.release(fields);
    const turn = this.#turn;
    const place = (form: HTMLElement) => {
      if (turn !== this.#turn) return;
      this.#asking = true;
      this.stage.render({ at: "asking", form });
    };
    try {
      return await askFactor(redemption, fields, this.#speech, this.around, place, this.post);
    } finally {
      // The card that was there before, which the fields come to.
      if (turn === this.#turn) {
        this.#asking = false;
        if (this.#scene) this.stage.render(this.#scene);
      }
    }
  }

  #forget(): void {
    this.#asked = undefined;
    this.#obtaining = undefined;
  }

  #show(shown: readonly Field[], secrets: Secrets, left: readonly Field[]): void {
    const { fields, masked } = this.#configured();
    const states: FieldStates = {};
    for (const field of fields) {
      if (shown.includes(field)) states[field] = "shown";
      else states[field] = left.includes(field) ? "masked" : "absent";
    }
    const since = shown.length > 0 ? { since: this.around.now() } : {};
    this.#enter({ at: "shown", secrets, fields: states, ...since });
    this.#render({
      at: "shown",
      secrets,
      states,
      masked,
      copy: this.#copyable(),
      secs: this.#secsLeft(),
      ...this.#last,
    });
    this.#closeWindow();
    if (shown.length > 0) {
      this.stage.announce(this.#speech.labels.shown);
      this.#tick();
      void this.#displayed(shown);
    } else this.post({ type: "revealed", fields: [] }); // the card is there, and waits for its clicks
    for (const field of fields) if (states[field] === "absent") this.#postAbsent(field);
  }

  #copyable(): Field[] {
    return this.#configured().copy.filter((field) => field !== "cvv" || this.config.copyCvv);
  }

  /** For the page: the cardholder sees that it is not there. */
  #postAbsent(field: Field): string {
    const message = about(this.#speech, "fieldAbsent", field);
    this.post({ type: "warning", code: "field_missing", message, field });
    return message;
  }

  async #displayed(fields: readonly Field[], field?: Field): Promise<void> {
    const [redemption, turn] = [this.#redemption, this.#turn];
    this.post({ type: "revealed", fields: [...fields] });
    await this.around.painted();
    if (turn !== this.#turn) return;
    const looked = await this.#seen();
    if (turn === this.#turn) redemption?.report("displayed", field, looked);
  }

  /**
   * Settles once the frame can be seen, and tells whether that was looked at; not at all when the
   * state is left before. Meanwhile the page is told what hides it, after a grace: pages fade cards
   * in.
   */
  #seen(): Promise<boolean> {
    const { sight } = this.around;
    return new Promise((done) => {
      let told = false;
      let stop = () => {};
      let cancel = () => {};
      const look = () => {
        cancel();
        const { now } = sight;
        if (!sight.hidden) {
          stop();
          if (told && this.#state.at === "loading") this.#renderLoading();
          done(now === "seen");
        } else if (isHindrance(now) && !told) {
          cancel = this.around.timer(GRACE_MS, () => {
            told = true;
            this.#postCovered(now);
          });
        }
      };
      stop = sight.watch(look);
      this.#cancelTimers.push(() => {
        stop();
        cancel();
      });
      look();
    });
  }

  #postCovered(cause: Hindrance): void {
    const { covered } = this.#speech.labels;
    if (this.#state.at === "loading") this.#renderLoading(covered);
    this.post({ type: "warning", code: "frame_covered", message: covered, cause });
  }

  async #showField(field: Field): Promise<void> {
    const state = this.#state;
    if (state.at !== "shown" || state.fields[field] !== "masked") return;
    const turn = this.#turn;
    this.#change(field, "loading");
    try {
      if (this.around.sight.hidden) await this.#seen();
      const redemption = await this.#obtain([field]);
      if (turn !== this.#turn) return;
      if (this.around.sight.hidden) await this.#seen();
      const { secrets, there: _, left: __, ...known } = await this.#release(redemption, [field]);
      if (turn !== this.#turn) return;
      this.#last = known;
      Object.assign(state.secrets, secrets);
      state.since ??= this.around.now();
      this.#tick();
      this.#change(field, "shown");
      this.#closeWindow();
      await this.#displayed([field], field);
    } catch (cause) {
      if (turn !== this.#turn) return;
      const failure = Failure.from(cause);
      if (failure.code === "field_unavailable")
        return this.#change(field, "absent", this.#postAbsent(field));
      // The card stays: what cannot be had is this field alone. A page that brought no token may
      // bring one yet.
      const again =
        failure.retryable || (failure.code === "token_failed" && this.#configured().renewable);
      if (again) this.#change(field, "masked", this.#sentence(failure));
      else this.#change(field, "gone", about(this.#speech, "fieldGone", field));
      this.#postError(failure, again);
    }
  }

  #hideField(field: Field): void {
    const state = this.#state;
    if (state.at !== "shown" || state.fields[field] !== "shown") return;
    delete state.secrets[field];
    this.#redemption?.report("hidden", field);
    if (this.#redemption?.offers([field])) this.#change(field, "masked");
    else this.#change(field, "gone", about(this.#speech, "fieldGone", field));
  }

  #change(field: Field, to: FieldState, note?: string): void {
    const state = this.#state;
    if (state.at !== "shown") return;
    state.fields[field] = to;
    this.stage.field(field, to, { secrets: state.secrets, ...this.#last }, note);
  }

  async #copy(field: Field): Promise<void> {
    const secrets = this.#state.at === "shown" ? this.#state.secrets : {};
    const text = written(secrets, field);
    if (text === undefined) return;
    // A page could have laid something over the button until now.
    if (!this.around.sight.steady) return this.#copied(field, false);
    const turn = this.#turn;
    const done = await this.around.copy(text);
    if (turn === this.#turn) this.#copied(field, done);
    else if (done) this.post({ type: "copied", field });
  }

  #copied(field: Field, done: boolean): void {
    this.stage.copied(field, done);
    if (done) {
      this.#after(COPIED_SHOWN_MS, () => this.stage.forgetCopied(field));
      this.#redemption?.report("copied", field, this.around.sight.now === "seen");
      this.post({ type: "copied", field });
    } else {
      this.post({
        type: "warning",
        code: "copy_failed",
        message: this.#speech.labels.copyFailed,
        field,
      });
    }
  }

  #retry(): void {
    if (this.#state.at === "failed" && this.#state.failure.retryAfterMs === undefined)
      void this.#load();
  }

  #fail(failure: Failure): void {
    const retryable =
      failure.retryable || (NEW_TOKEN_HELPS.has(failure.code) && this.#configured().renewable);
    // An answer that got lost is asked for again by the same key; the token may be bound to it.
    if (!failure.retryable) this.#redemption = undefined;
    this.#enter({ at: "failed", failure });
    this.#render({
      at: "failed",
      failure,
      retryable,
      secs: Math.ceil((failure.retryAfterMs ?? 0) / 1000),
    });
    if (failure.retryAfterMs !== undefined)
      this.#wait(failure, this.around.now() + failure.retryAfterMs);
    this.#postError(failure, retryable);
  }

  #wait(failure: Failure, endsAt: number): void {
    const leftMs = endsAt - this.around.now();
    if (leftMs <= 0) failure.retryAfterMs = undefined;
    const secs = Math.max(Math.ceil(leftMs / 1000), 0);
    if (this.#scene?.at === "failed") this.#scene.secs = secs;
    this.stage.retryIn(secs);
    if (leftMs > 0) this.#after(leftMs % 1000 || 1000, () => this.#wait(failure, endsAt));
  }

  #postError(failure: Failure, retryable: boolean): void {
    const { code, requestId } = failure;
    const message = this.#sentence(failure);
    this.post({
      type: "error",
      code: code as ErrorCode,
      message,
      retryable,
      ...(requestId === undefined ? {} : { requestId }),
    });
  }

  #sentence(failure: Failure): string {
    return sentenceOf(this.#speech, failure).join(". ");
  }

  #hidden(because: Because): void {
    this.#enter({ at: "hidden" });
    const { renewable, fields } = this.#configured();
    const showable = renewable || this.#tokens === 0 || (this.#redemption?.offers(fields) ?? false);
    this.#render({ at: "hidden", fields, because, showable, ...this.#last });
    this.stage.announce(this.#speech.labels.hidden);
  }

  #tick(): void {
    this.#cancelTick();
    const leftMs = this.#leftMs();
    if (leftMs === undefined) return;
    if (leftMs <= 0) return this.hide("time");
    this.stage.tick(this.#secsLeft());
    this.#cancelTick = this.around.timer(leftMs % 1000 || 1000, () => this.#tick());
  }

  #leftMs(): number | undefined {
    return this.#state.at === "shown" && this.#state.since !== undefined
      ? this.#state.since + this.#configured().hideAfter * 1000 - this.around.now()
      : undefined;
  }

  /** 0 while nothing runs. */
  #secsLeft(): number {
    return Math.max(Math.ceil((this.#leftMs() ?? 0) / 1000), 0);
  }

  /** Takes the offer of a masked field away when the server would no longer release it. */
  #closeWindow(): void {
    const endsAt = this.#redemption?.windowEndsAt;
    if (endsAt === undefined) return;
    this.#after(endsAt - this.around.now(), () => {
      const fields = this.#state.at === "shown" ? this.#state.fields : {};
      for (const [field, state] of Object.entries(fields) as [Field, FieldState][]) {
        if (state === "masked")
          this.#change(field, "gone", about(this.#speech, "fieldGone", field));
      }
    });
  }

  #after(ms: number, run: () => void): void {
    this.#cancelTimers.push(this.around.timer(Math.max(ms, 0), run));
  }

  /**
   * The one way from state to state: what the old one held is cleared, what it awaited is dropped.
   */
  #enter(next: State): number {
    const old = this.#state;
    if (old.at === "shown")
      for (const field of Object.keys(old.secrets)) delete old.secrets[field as Field];
    for (const cancel of this.#cancelTimers.splice(0)) cancel();
    this.#cancelTick();
    this.#forget();
    this.#asking = false;
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
/** How long a frame may be hidden before its page is told. */
const GRACE_MS = 1500;
const NEW_TOKEN_HELPS: ReadonlySet<string> = new Set([
  "token_refused",
  "token_failed",
  "header_mismatch",
]);
