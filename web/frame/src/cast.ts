import { type Field, HINDRANCES, type Part } from "@cardveil/protocol";
import { written } from "./secrets.ts";
import { isSight, type Sight, Sighting } from "./sight.ts";
import { type Drawing, fieldOf, type ForPart, type FromPart } from "./siblings.ts";
import type { Actions, FieldState, Scene, Stage } from "./stage.ts";
import { sentenceOf, type Speech } from "./words/index.ts";

/** The order in which a part is asked to speak for all: one says what happened, and only one. */
const SPEAKERS: readonly Part[] = ["pan", "name", "expiry", "cvv", "toggle", "countdown"];

/** More than any page places. */
const PARTS_MAX = 64;

/**
 * Draws a card in frames that the page placed: each gets what it shows and nothing more.
 *
 * **Invariant**: it keeps a scene whose secrets are the card's own object, which the card empties.
 */
export class Cast implements Stage {
  readonly #ports = new Map<MessagePort, Part>();
  readonly #sights = new Map<MessagePort, Sight>();
  #scene: Scene = { at: "loading", fields: [], lastFour: "", network: "" };
  #speech: Speech | undefined;
  #actions: Actions | undefined;
  #said = "";
  #secs = 0;
  readonly #copied = new Map<Field, boolean>();
  readonly #painted = new Set<Field>();
  #awaited: (() => void)[] = [];

  /** Of its parts, which are what can be seen: one of them is enough to begin. */
  readonly sight = new Sighting(() => performance.now(), "outside");

  admit(part: Part, port: MessagePort, sight: Sight): void {
    if (this.#ports.size >= PARTS_MAX) return port.close();
    this.#ports.set(port, part);
    this.#see(port, sight);
    port.addEventListener("message", ({ data }: MessageEvent<FromPart>) => {
      if (data === "gone") this.#release(port);
      else if (isSight(data)) this.#see(port, data);
      else this.#obey(part, data);
    });
    // Chromium tells by itself.
    port.addEventListener("close", () => this.#release(port));
    port.start();
    this.#draw();
  }

  on(actions: Actions): void {
    this.#actions = actions;
  }

  configure(speech: Speech): void {
    this.#speech = speech;
  }

  render(scene: Scene): void {
    // Shown once more, in other words: what was painted stays painted, and whoever waits for the
    // rest still does.
    const again =
      scene.at === "shown" && this.#scene.at === "shown" && scene.secrets === this.#scene.secrets;
    this.#scene = scene;
    this.#said = (scene.at === "loading" && scene.note) || "";
    this.#copied.clear();
    if (!again) {
      this.#painted.clear();
      this.#awaited = [];
    }
    if (scene.at === "shown") this.#secs = scene.secs;
    this.#draw();
  }

  field(field: Field, state: FieldState, _of: unknown, note = ""): void {
    this.#said = note;
    if (state !== "shown") this.#painted.delete(field);
    this.#draw();
  }

  tick(secs: number): void {
    this.#secs = secs;
    for (const [port, part] of this.#ports)
      if (part === "countdown") this.#send(port, { type: "tick", secs });
  }

  announce(text: string): void {
    this.#said = text;
    this.#draw();
  }

  copied(field: Field, done: boolean): void {
    this.#copied.set(field, done);
    this.#said = this.#speech?.labels[done ? "copied" : "copyFailed"] ?? "";
    this.#draw();
  }

  forgetCopied(field: Field): void {
    this.#copied.delete(field);
    this.#said = "";
    this.#draw();
  }

  retryIn(secs: number): void {
    if (this.#scene.at === "failed") this.#scene.secs = secs;
    this.#draw();
  }

  clear(): void {
    for (const port of this.#ports.keys()) {
      this.#send(port, { type: "draw", drawing: { ...NOTHING, at: "gone" } });
      port.close();
    }
    this.#ports.clear();
    this.#sights.clear();
  }

  /**
   * Settles when all that is shown has been painted in sight. A field that the page has placed
   * nowhere never is, and its release stays unconfirmed.
   */
  painted = (): Promise<void> => new Promise((done) => this.#awaited.push(done));

  #draw(): void {
    const parts = [...this.#ports.values()];
    const speaker = SPEAKERS.find((part) => parts.includes(part));
    for (const [port, part] of this.#ports) {
      this.#send(port, {
        type: "draw",
        drawing: { ...this.#drawing(part), ...(part === speaker ? this.#words() : {}) },
      });
    }
  }

  #words(): Pick<Drawing, "says" | "alert"> {
    const scene = this.#scene;
    if (scene.at !== "failed") return { says: this.#said, alert: false };
    const [title, advice] = this.#speech ? sentenceOf(this.#speech, scene.failure) : ["", ""];
    return { says: `${title}. ${advice}`, alert: true };
  }

  #drawing(part: Part): Drawing {
    const scene = this.#scene;
    const { lastFour, network } = scene.at === "shown" || scene.at === "hidden" ? scene : NOTHING;
    const drawing = { ...NOTHING, at: scene.at, lastFour, network };
    const field = fieldOf(part);
    switch (scene.at) {
      case "loading":
        return drawing;
      case "hidden":
        return { ...drawing, enabled: scene.showable && part === "toggle" };
      case "failed":
        return {
          ...drawing,
          enabled: scene.retryable && scene.secs === 0 && part === "toggle",
          secs: scene.secs,
        };
      case "shown": {
        if (field === undefined)
          return { ...drawing, enabled: part === "toggle", secs: this.#secs };
        const state = scene.states[field];
        const copies = part !== field;
        const value =
          state === "shown" && (!copies || scene.copy.includes(field))
            ? written(scene.secrets, field)
            : undefined;
        const enabled = copies ? value !== undefined : state === "masked";
        return {
          ...drawing,
          state,
          value,
          enabled,
          secs: this.#secs,
          masked: scene.masked.includes(field),
          copied: this.#copied.get(field),
        };
      }
    }
  }

  #paint(field: Field): void {
    const scene = this.#scene;
    if (scene.at !== "shown" || scene.states[field] !== "shown") return;
    this.#painted.add(field);
    const shown = (Object.keys(scene.states) as Field[]).filter(
      (name) => scene.states[name] === "shown",
    );
    if (shown.every((name) => this.#painted.has(name)))
      for (const done of this.#awaited.splice(0)) done();
  }

  #send(port: MessagePort, message: ForPart): void {
    port.postMessage(message);
  }

  /** Forgets a part that the page took away; what it would have said for all, another one says. */
  #release(port: MessagePort): void {
    if (!this.#ports.delete(port)) return;
    this.#see(port, undefined);
    port.close();
    this.#draw();
  }

  #see(port: MessagePort, sight: Sight | undefined): void {
    if (sight === undefined) this.#sights.delete(port);
    else this.#sights.set(port, sight);
    const all = new Set(this.#sights.values());
    const order = ["seen", "unknown", ...HINDRANCES] as const;
    this.sight.become(order.find((sight) => all.has(sight)) ?? "outside");
  }

  #obey(part: Part, act: Exclude<FromPart, "gone" | Sight>): void {
    const field = fieldOf(part);
    switch (act) {
      case "show":
      case "hide":
      case "retry":
        this.#actions?.[act]();
        break;
      case "showField":
      case "hideField":
        if (field !== undefined) this.#actions?.[act](field);
        break;
      case "copied":
      case "copyFailed":
        if (field !== undefined) this.#actions?.copied(field, act === "copied");
        break;
      case "painted":
        if (field !== undefined) this.#paint(field);
    }
  }
}

const NOTHING: Drawing = {
  at: "loading",
  lastFour: "",
  network: "",
  masked: false,
  enabled: false,
  secs: 0,
  alert: false,
};
