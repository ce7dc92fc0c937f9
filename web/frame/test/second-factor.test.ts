/**
 * A card that opens after a code, which its frame asks for. Counts as a failure: a card without the
 * code, a code that outlives its form, a second code sent that nobody asked for, words that do not
 * say how to go on.
 */
import { type Configuration, FIELDS, type ForPage } from "@cardveil/protocol";
import { beforeEach, describe, expect, it } from "vitest";
import { Card } from "../src/card.ts";
import { askFactor } from "../src/second-factor.ts";
import { FACTOR_WORDS } from "../src/second-factor-words.ts";
import { View } from "../src/view.ts";
import { LANGUAGES } from "../src/words/all.ts";
import { CARD, CONFIG, problem, TOKEN, wordsOf, World } from "./world.ts";

const settings: Configuration = {
  fields: [...FIELDS],
  appearance: { theme: "auto" },
  locale: "en",
  hideAfter: 60,
  copy: ["pan"],
  masked: ["cvv"],
  labels: {},
  renewable: true,
};

let world: World;
let heard: ForPage[];
let root: HTMLElement;
let card: Card;

beforeEach(() => make());

function make(changes: Partial<Configuration> = {}, lang = "en"): void {
  world = new World();
  world.asks = "TOTP";
  world.askFactor = askFactor;
  heard = [];
  root = document.createElement("main");
  document.body.replaceChildren(root);
  const config = { ...CONFIG, words: wordsOf(lang) };
  const view = new View(root, config.words);
  card = new Card(config, world, view, (message) => {
    heard.push(message);
    if (message.type === "needToken") card.receive({ type: "token", token: TOKEN });
  });
  card.receive({ type: "configure", ...settings, locale: lang, ...changes });
}

const find = <T extends HTMLElement>(testid: string) =>
  root.querySelector<T>(`[data-testid="cardveil-${testid}"]`);
const input = () => find<HTMLInputElement>("code");
const error = () => find("code-error")?.textContent;
const told = (type: ForPage["type"]) => heard.filter((message) => message.type === type);

async function until(what: () => unknown): Promise<void> {
  for (let turns = 0; !what(); turns += 1) {
    if (turns > 500) throw new Error(`it never came: ${what}\n${root.textContent}`);
    await new Promise((done) => setTimeout(done));
  }
}

async function asked(): Promise<void> {
  card.reveal();
  await until(input);
}

async function type(code: string): Promise<void> {
  const before = world.redeems.length;
  const field = input();
  if (field === null) throw new Error("there is no form");
  field.value = code;
  field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  await until(() => world.redeems.length > before && !(field.readOnly && field.isConnected));
}

describe("a card that opens after a code", () => {
  it("is shown after it, and the page hears what it hears of any card", async () => {
    await asked();
    expect(root.textContent).toContain("authenticator app");
    expect(root.textContent).not.toContain(CARD.pan.slice(-4));
    expect(told("revealed")).toEqual([]);
    expect(world.redeems).toEqual([]);
    input()!.value = ` ${world.code.slice(0, 3)} ${world.code.slice(3)}`;
    find("confirm")?.click();
    await until(() => find("pan"));
    expect(find("pan")?.textContent).toContain("1111");
    expect(told("revealed")).toHaveLength(1);
    expect(told("error")).toEqual([]);
    expect(world.challenges).toHaveLength(1);
    expect(document.body.innerHTML).not.toContain(world.code);
    // Another field of it needs no code again.
    find("show-cvv")?.click();
    await until(() => find("cvv"));
    expect(world.challenges).toHaveLength(1);
  });

  it("asks for all six digits, and again after a wrong code", async () => {
    await asked();
    input()!.value = "12 34";
    find("confirm")?.click();
    expect(error()).toBe("Type all six digits.");
    expect(world.redeems).toEqual([]);
    await type("000000");
    await until(() => error()?.includes("Tries left: 4."));
    expect(input()?.getAttribute("aria-invalid")).toBe("true");
    expect(input()?.value).toBe("");
    await type(world.code);
    await until(() => find("pan"));
    expect(new Set(world.challenges.map(({ challenge }) => challenge)).size).toBe(1);
  });

  it("ends at the fifth wrong code, and says when to come back", async () => {
    await asked();
    for (let tries = 1; tries <= 4; tries += 1) {
      await type("000000");
      await until(() => error()?.includes(`Tries left: ${5 - tries}.`));
    }
    world.challengeFates.push(problem(429, "rate_limited", { "retry-after": "900" }));
    await type("000000");
    await until(() => root.textContent?.includes("Try again in 15 minutes."));
    world.advance(840_000);
    expect(root.textContent).toContain("Try again in 60 seconds.");
    world.advance(60_000);
    await until(() => find("restart"));
    find("restart")?.click();
    await until(input);
    expect(new Set(world.challenges.map(({ challenge }) => challenge)).size).toBe(2);
  });

  it("has a delivered code sent again when the cardholder wants it, and not before", async () => {
    world.asks = "OTP";
    await asked();
    expect(root.textContent).toContain("on its way to you");
    find("send-code")?.click();
    await until(() => error() === "Another code is on its way.");
    expect(input()?.getAttribute("aria-invalid")).toBe("false");
    const [first, second] = world.challenges;
    expect(first?.["challenge"]).not.toBe(second?.["challenge"]);
    await type(world.code);
    await until(() => find("pan"));
    expect(world.redeems.at(-1)?.["factor"]).toEqual({
      challenge: second?.["challenge"],
      code: world.code,
    });
  });

  it("keeps the code that is on its way when no other could be sent", async () => {
    world.asks = "OTP";
    await asked();
    world.challengeFates.push(problem(503, "unavailable"), problem(503, "unavailable"));
    world.challengeFates.push(problem(503, "unavailable"));
    find("send-code")?.click();
    await until(() => error()?.includes("cannot be shown right now"));
    await type(world.code);
    await until(() => find("pan"));
    expect(world.redeems[0]?.["factor"].challenge).toBe(world.challenges[0]?.["challenge"]);
  });

  it("says that it is locked, to the cardholder and the page", async () => {
    world.challengeFates.push(problem(409, "factor_unavailable"));
    card.reveal();
    await until(() => root.textContent?.includes("cannot be checked"));
    expect(told("error")).toMatchObject([{ code: "factor_unavailable", retryable: false }]);
    expect(input()).toBeNull();
  });

  it("stays while the cardholder looks for the code in another app", async () => {
    await asked();
    card.hide("left");
    expect(input()).not.toBeNull();
    await type(world.code);
    await until(() => find("pan"));
  });

  it("goes when the page hides it, and comes back to the same challenge", async () => {
    await asked();
    await type("000000");
    await until(() => error()?.includes("Tries left: 4."));
    card.hide("asked");
    expect(input()).toBeNull();
    card.reveal();
    await until(input);
    expect(new Set(world.challenges.map(({ challenge }) => challenge)).size).toBe(1);
    await type("000000");
    await until(() => error()?.includes("Tries left: 3."));
  });

  it("forgets it with the document", async () => {
    await asked();
    card.leave();
    expect(input()).toBeNull();
    expect(find("show")).not.toBeNull();
  });

  it("keeps the form when its answer got lost, and the same code opens the card", async () => {
    await asked();
    world.fates.push("lose answer", "lose answer", "lose answer");
    input()!.value = world.code;
    find("confirm")?.click();
    await until(() => error() !== "");
    expect(input()?.value).toBe(world.code);
    find("confirm")?.click();
    await until(() => find("pan"));
  });

  it("begins anew when the token has ended meanwhile", async () => {
    await asked();
    world.fates.push(problem(403, "token_refused"));
    input()!.value = world.code;
    find("confirm")?.click();
    await until(() => find("retry"));
    expect(told("error")).toMatchObject([{ code: "token_refused", retryable: true }]);
    find("retry")?.click();
    await until(input);
    expect(told("needToken")).toHaveLength(2);
  });

  it("asks where all fields wait for their clicks, too", async () => {
    make({ masked: [...FIELDS] });
    world.asks = "TOTP";
    card.reveal();
    await until(() => find("show-pan"));
    expect(world.challenges).toEqual([]);
    find("show-pan")?.click();
    await until(input);
    await type(world.code);
    await until(() => find("pan"));
    expect(find("pan")?.textContent).toContain("1111");
    expect(find("show-cvv")).not.toBeNull();
  });

  it("is shown at once where its token waits for nothing", async () => {
    world.asks = undefined;
    card.reveal();
    await until(() => find("pan"));
    expect(world.challenges).toHaveLength(1);
    expect(told("error")).toEqual([]);
  });

  it("keeps the form when the page changes the card's looks", async () => {
    await asked();
    input()!.value = "12";
    card.receive({ type: "update", hideAfter: 30, appearance: { theme: "dark" } });
    expect(input()?.value).toBe("12");
  });

  it("tells the page where it cannot ask", async () => {
    world.askFactor = undefined;
    card.reveal();
    await until(() => told("error").length > 0);
    expect(told("error")).toMatchObject([{ code: "mfa_required", retryable: false }]);
    expect(root.textContent).toContain("not set up correctly");
  });
});

it.each(Object.keys(LANGUAGES))("asks in %s, with the slots in place", async (lang) => {
  make({}, lang);
  world.asks = "OTP";
  const words = FACTOR_WORDS[lang];
  expect(Object.keys(words ?? {})).toEqual(Object.keys(FACTOR_WORDS.en));
  expect(words?.left).toContain("{tries}");
  expect(words?.comeBack).toContain("{time}");
  await asked();
  expect(root.textContent).toContain(words?.title);
  expect(find("send-code")?.textContent).toBe(words?.again);
});
