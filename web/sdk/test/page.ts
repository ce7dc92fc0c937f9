/** A page that holds a card, and the frame that its SDK believes to be in it. */
import nodeConsole from "node:console";
import { connect, type ForFrame, type ForPage, hello, parseForFrame } from "@cardveil/protocol";
import { afterEach, beforeEach, expect, vi } from "vitest";
import type { CardEvents, CardOptions } from "../src/api.ts";
import { FramedCard } from "../src/card.ts";
import { parseOptions } from "../src/options.ts";

export const ORIGIN = "https://cards.example.com";
export const TOKEN = "cvt_test_1";

/** The other side: a window that the SDK believes to be inside its frame. */
export class Frame {
  readonly window = { postMessage: vi.fn() };
  readonly heard: ForFrame[] = [];
  #port: MessagePort | undefined;
  #nonce = "";

  constructor(readonly element: HTMLIFrameElement) {
    Object.defineProperty(element, "contentWindow", { value: this.window });
  }

  hello(changes: object = {}): void {
    const event = new Event("message");
    Object.assign(event, { source: this.window, origin: ORIGIN, data: hello(), ...changes });
    window.dispatchEvent(event);
    const call = this.window.postMessage.mock.calls.at(-1);
    if (call === undefined) return;
    const [message, origin, [port]] = call as [ReturnType<typeof connect>, string, [MessagePort]];
    expect(origin).toBe(ORIGIN);
    expect(message).toEqual(connect(message.nonce));
    this.#nonce = message.nonce;
    this.#port = port;
    port.onmessage = ({ data }) => {
      const parsed = parseForFrame(data);
      expect(parsed).toEqual(data);
      if (parsed !== undefined) this.heard.push(parsed);
    };
  }

  say(message: ForPage | object): void {
    this.#port?.postMessage(message);
  }

  ready(): void {
    this.say({ type: "ready", nonce: this.#nonce, title: "Your card" });
  }

  /** But for what it stands on, which is told at any time. */
  get types(): string[] {
    return this.heard.map(({ type }) => type).filter((type) => type !== "ground");
  }
}

export let cards: FramedCard[];

beforeEach(() => {
  cards = [];
  // The test's own document loads no frames, which is wanted here, and complains of each on node's
  // console.
  vi.spyOn(nodeConsole, "error").mockImplementation(() => {});
  document.body.innerHTML = '<div id="card"></div>';
});
afterEach(() => {
  for (const card of cards) card.destroy();
  vi.useRealTimers();
});

export function make(
  token: CardOptions["token"] = TOKEN,
  options: Omit<CardOptions, "token"> = {},
): FramedCard {
  const place = {
    origin: ORIGIN,
    embed: "emb_1",
    frameUrl: `${ORIGIN}/embed/emb_1`,
    doctor: () => import("../src/doctor.ts"),
  };
  const card = new FramedCard(place, parseOptions({ token, ...options }));
  cards.push(card);
  return card;
}

export function mount(card: FramedCard): Frame {
  card.mount("#card");
  const element = document.querySelector("iframe");
  if (element === null) throw new Error("there is no frame");
  return new Frame(element);
}

/** Messages over a real MessagePort arrive in tasks of their own. */
export const delivered = () => new Promise<void>((done) => setTimeout(done, 20));

export function record(card: FramedCard): [string, unknown][] {
  const seen: [string, unknown][] = [];
  for (const event of ["ready", "revealed", "hidden", "copied", "expired", "error"] as const) {
    card.on(event, (detail: CardEvents[typeof event]) => seen.push([event, detail]));
  }
  return seen;
}
