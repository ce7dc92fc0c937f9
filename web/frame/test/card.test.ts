/**
 * The life of a card in the frame. Counts as a failure: a digit in the document in any state but
 * `shown`, a CVV asked for before its click, a token redeemed twice, an event that tells what did
 * not happen.
 */
import { type Configuration, FIELDS, type ForPage, parseForPage } from "@cardveil/protocol";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Card } from "../src/card.ts";
import type { Config } from "../src/config.ts";
import { View } from "../src/view.ts";
import { CARD, CONFIG, problem, TOKEN, wordsOf, World } from "./world.ts";

const settings: Configuration = {
  fields: [...FIELDS],
  appearance: { theme: "auto" },
  locale: "en",
  hideAfter: 60,
  copy: ["pan", "cvv"],
  masked: ["cvv"],
  labels: {},
  renewable: true,
};

class Page {
  readonly heard: ForPage[] = [];
  readonly #waiting: { type: string; resolve: (message: ForPage) => void }[] = [];
  #read = 0;

  post = (message: ForPage): void => {
    // What a real page would get: through the parser, and nothing that is not in it.
    expect(parseForPage(structuredClone(message))).toEqual(message);
    this.heard.push(message);
    const index = this.#waiting.findIndex(({ type }) => type === message.type);
    if (index >= 0) this.#waiting.splice(index, 1)[0]?.resolve(message);
  };

  /** The next message of a type, counted from the last one that was awaited. */
  next<T extends ForPage["type"]>(type: T): Promise<Extract<ForPage, { type: T }>> {
    const index = this.heard.findIndex((message, i) => i >= this.#read && message.type === type);
    if (index >= 0) {
      this.#read = index + 1;
      return Promise.resolve(this.heard[index] as Extract<ForPage, { type: T }>);
    }
    return new Promise((resolve) => {
      this.#waiting.push({
        type,
        resolve: (message) => {
          this.#read = this.heard.length;
          resolve(message as Extract<ForPage, { type: T }>);
        },
      });
    });
  }

  get types(): string[] {
    return this.heard.map(({ type }) => type);
  }
}

let world: World;
let page: Page;
let root: HTMLElement;
let card: Card;

function make(changes: Partial<Configuration> = {}, config: Partial<Config> = {}): void {
  world = new World();
  page = new Page();
  root = document.createElement("main");
  document.body.replaceChildren(root);
  card = new Card(
    { ...CONFIG, ...config },
    world,
    new View(root, config.words ?? CONFIG.words),
    page.post,
  );
  card.receive({ type: "configure", ...settings, ...changes });
}

async function reveal(token = TOKEN): Promise<void> {
  card.receive({ type: "reveal" });
  await page.next("needToken");
  card.receive({ type: "token", token });
  await page.next("revealed");
  await settled();
}

const find = (testid: string) =>
  root.querySelector<HTMLElement>(`[data-testid="cardveil-${testid}"]`);
const click = (testid: string) => {
  const button = find(testid);
  if (button === null) throw new Error(`there is no ${testid}`);
  button.click();
};
/** Everything in the fake world is a promise, so a few tasks of the real loop bring it to rest. */
const settled = async () => {
  for (let i = 0; i < 5; i += 1) await new Promise((done) => setTimeout(done));
};
const state = () => find("card")?.dataset["state"];

function expectNoDigits(): void {
  const html = document.documentElement.outerHTML;
  for (const secret of [
    CARD.pan,
    CARD.pan.slice(0, 12),
    [...CARD.pan].join(" "),
    "1 1 1 1, 1 1 1 1",
    CARD.cvv,
    CARD.name,
    "12/30",
  ]) {
    expect(html).not.toContain(secret);
    expect(document.documentElement.textContent).not.toContain(secret);
  }
}

beforeEach(() => make());

describe("reveal", () => {
  it("asks for a token, redeems it once and shows what was asked but the CVV", async () => {
    await reveal();
    expect(state()).toBe("shown");
    expect(find("pan")?.textContent).toBe(CARD.pan);
    expect([...(find("pan")?.children ?? [])].map((group) => group.textContent)).toEqual([
      "4111",
      "1111",
      "1111",
      "1111",
    ]);
    expect(find("pan")?.getAttribute("aria-label")).toBe(
      "Card number: 4 1 1 1, 1 1 1 1, 1 1 1 1, 1 1 1 1",
    );
    expect(find("pan")?.dir).toBe("ltr");
    expect(find("expiry")?.textContent).toBe("12/30");
    expect(find("name")?.textContent).toBe(CARD.name);
    expect(find("cvv")).toBeNull();
    expect(find("countdown")?.textContent).toBe("Hides in 60 s");
    expect(world.redeems.map((body) => body["fields"])).toEqual([["pan", "expiry", "name"]]);
    expect(world.events).toEqual([{ redemption: "rdm_1", token: TOKEN, event: "displayed" }]);
    expect(page.heard).toEqual([
      { type: "needToken" },
      { type: "revealed", fields: ["pan", "expiry", "name"] },
    ]);
  });

  it("starts once, however often it is asked", async () => {
    card.receive({ type: "reveal" });
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    card.receive({ type: "token", token: `${TOKEN}2` });
    card.receive({ type: "reveal" });
    await page.next("revealed");
    card.receive({ type: "reveal" });
    await settled();
    expect(page.types.filter((type) => type === "needToken")).toHaveLength(1);
    expect(world.redeems).toHaveLength(1);
  });

  it("takes no token that it did not ask for", async () => {
    card.receive({ type: "token", token: TOKEN });
    await settled();
    expect(world.redeems).toEqual([]);
  });

  it("shows what the card has, and warns the page of what it has not (engrid#324, braintree-web-drop-in#149)", async () => {
    make({ masked: [] });
    world.lacks = ["cvv"];
    await reveal();
    expect(find("pan")?.textContent).toBe(CARD.pan);
    expect(find("expiry")?.textContent).toBe("12/30");
    expect(root.textContent).not.toContain("CVV");
    expect(page.heard).toEqual([
      { type: "needToken" },
      { type: "revealed", fields: ["pan", "expiry", "name"] },
      {
        type: "warning",
        code: "field_missing",
        message: "CVV is not available on this card.",
        field: "cvv",
      },
    ]);
    expect(world.events).toEqual([{ redemption: "rdm_1", token: TOKEN, event: "displayed" }]);
    card.hide("asked");
    click("show");
    await page.next("revealed");
    expect(world.redeems).toHaveLength(2);
  });

  it("says so where the card has none of the fields, in words of its own", async () => {
    make({ fields: ["cvv"], masked: [] });
    world.lacks = ["cvv"];
    card.receive({ type: "reveal" });
    await page.next("needToken");
    card.receive({ type: "token", token: TOKEN });
    expect(await page.next("error")).toMatchObject({
      code: "field_unavailable",
      retryable: false,
      requestId: "req_1",
    });
    expect(find("error")?.textContent).toContain("These details are not available");
    expect(find("retry")).toBeNull();
  });

  it("does nothing before it is configured", () => {
    const fresh = new Card(CONFIG, world, new View(root, CONFIG.words), page.post);
    fresh.receive({ type: "reveal" });
    fresh.receive({ type: "hide" });
    fresh.receive({ type: "token", token: TOKEN });
    fresh.destroy();
    expect(page.heard).toEqual([]);
  });

  it("is configured once", async () => {
    card.receive({ type: "configure", ...settings, hideAfter: 300 });
    await reveal();
    expect(find("countdown")?.textContent).toBe("Hides in 60 s");
  });

  it("waits in a tab that nobody sees", () => {
    world.isVisible = false;
    card.receive({ type: "reveal" });
    expect(state()).toBe("hidden");
    expect(page.heard).toEqual([]);
  });

  it("shows the fields that were asked for and no others", async () => {
    make({ fields: ["expiry"] });
    await reveal();
    expect(world.redeems.map((body) => body["fields"])).toEqual([["expiry"]]);
    expect(find("pan")).toBeNull();
    expect(find("copy-pan")).toBeNull();
    expect(find("show-cvv")).toBeNull();
    expect(root.textContent).toContain("1111"); // the last four, which the answer tells anyway
  });

  it("redeems at the click when the CVV alone was asked for", async () => {
    make({ fields: ["cvv"] });
    card.receive({ type: "reveal" });
    await settled();
    expect(page.heard).toEqual([{ type: "revealed", fields: [] }]);
    click("show-cvv");
    await page.next("needToken");
    card.receive({ type: "token", token: TOKEN });
    expect(await page.next("revealed")).toEqual({ type: "revealed", fields: ["cvv"] });
    expect(find("cvv")?.textContent).toBe(CARD.cvv);
  });

  it("of a card that is masked throughout is told, and shows network and last four from the first field on", async () => {
    make({ masked: [...FIELDS] });
    card.receive({ type: "reveal" });
    await settled();
    expect(page.heard).toEqual([{ type: "revealed", fields: [] }]);
    expect(world.redeems).toEqual([]);
    click("show-expiry");
    await page.next("needToken");
    card.receive({ type: "token", token: TOKEN });
    await page.next("revealed");
    await settled();
    expect(root.querySelector(".network")?.textContent).toBe("Visa");
    expect(root.querySelector(".number")?.textContent).toContain("••••••••••••1111");
  });
});

it("a card masked throughout counted down and said that it was shown, with nothing to be seen", async () => {
  make({ masked: [...FIELDS] });
  card.receive({ type: "reveal" });
  await settled();
  expect(find("countdown")?.textContent).toBe("");
  expect(root.textContent).not.toContain("Card details shown");
  world.advance(90_000);
  expect(state()).toBe("shown");
  click("show-cvv");
  await page.next("needToken");
  card.receive({ type: "token", token: TOKEN });
  await page.next("revealed");
  expect(find("countdown")?.textContent).toBe("Hides in 60 s");
  world.advance(30_000);
  click("show-pan");
  await settled();
  expect(find("countdown")?.textContent).toBe("Hides in 30 s");
  world.advance(30_000);
  expect(state()).toBe("hidden");
});

it("a field that no token was brought for may be asked for again", async () => {
  make({ masked: ["pan", "cvv"], fields: ["pan"] });
  card.receive({ type: "reveal" });
  click("show-pan");
  await page.next("needToken");
  card.receive({ type: "noToken" });
  expect(await page.next("error")).toMatchObject({ code: "token_failed", retryable: true });
  click("show-pan");
  await page.next("needToken");
  card.receive({ type: "token", token: TOKEN });
  await page.next("revealed");
  expect(find("pan")?.textContent).toBe(CARD.pan);
});

describe("purge", () => {
  beforeEach(() => reveal());

  it.each([
    ["the cardholder hides", () => click("hide"), "hidden"],
    ["the page hides", () => card.receive({ type: "hide" }), "hidden"],
    ["the tab is left", () => card.hide("left"), "hidden"],
    ["the page is left", () => card.leave(), "hidden"],
    ["time runs out", () => world.advance(60_000), "expired"],
    ["the page destroys", () => card.receive({ type: "destroy" }), "hidden"],
  ])("when %s", async (_, leave, event) => {
    click("show-cvv");
    await page.next("revealed");
    leave();
    expectNoDigits();
    await settled();
    expect(world.events.map((body) => body["event"]).at(-1)).toBe(event);
    expect(page.types.slice(-2)).toEqual(
      event === "expired" ? ["expired", "hidden"] : ["revealed", "hidden"],
    );
    expect(world.clipboard).toEqual([]);
  });

  it("empties what the view was given, and stops every timer", async () => {
    const render = vi.spyOn(View.prototype, "render");
    card.hide("asked");
    click("show");
    await page.next("revealed");
    const scene = render.mock.calls.map(([scene]) => scene).find(({ at }) => at === "shown");
    expect(scene).toHaveProperty("secrets.pan", CARD.pan);
    expect(world.timersLeft).toBeGreaterThan(0);
    card.hide("asked");
    expect(scene).toHaveProperty("secrets", {});
    expect(world.timersLeft).toBe(0);
  });

  it("leaves nothing to copy", async () => {
    const copy = find("copy-pan");
    card.hide("asked");
    copy?.click();
    await settled();
    expect(world.clipboard).toEqual([]);
  });

  it("tells so, without a digit", () => {
    expect(root.querySelector(".unseen")?.textContent).toBe("Card details shown");
    card.hide("asked");
    expect(root.querySelector(".unseen")?.textContent).toBe("Card details hidden");
  });

  it("happens once", () => {
    card.hide("asked");
    card.hide("asked");
    world.advance(120_000);
    expect(page.types.filter((type) => type === "hidden")).toHaveLength(1);
    expect(page.types).not.toContain("expired");
  });
});

describe("what arrives too late", () => {
  it("is dropped when hidden while loading", async () => {
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    card.receive({ type: "hide" });
    await settled();
    expect(state()).toBe("hidden");
    expectNoDigits();
    expect(page.types).toEqual(["needToken"]);
    expect(world.events).toEqual([]);
  });

  it("is dropped when destroyed while loading", async () => {
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    card.destroy();
    card.destroy();
    await settled();
    expect(root.children).toHaveLength(0);
    expect(world.redeems).toHaveLength(0);
    card.receive({ type: "reveal" });
    expect(page.types).toEqual(["needToken"]);
  });

  it("is dropped when it is a CVV", async () => {
    await reveal();
    click("show-cvv");
    card.hide("left");
    await settled();
    expectNoDigits();
    expect(page.types.filter((type) => type === "revealed")).toHaveLength(1);
  });

  it("is not reported as displayed when it was hidden before it was painted", async () => {
    let paint = () => {};
    world.painted = () => new Promise((done) => (paint = done));
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    await page.next("revealed");
    card.hide("asked");
    paint();
    await settled();
    expect(world.events.map((body) => body["event"])).toEqual(["hidden"]);
  });
});

describe("CVV", () => {
  it("is fetched by its click, with the same key, and shown", async () => {
    await reveal();
    click("show-cvv");
    click("show-cvv");
    expect(await page.next("revealed")).toEqual({ type: "revealed", fields: ["cvv"] });
    await settled();
    expect(find("cvv")?.textContent).toBe(CARD.cvv);
    expect(find("show-cvv")).toBeNull();
    expect(world.redeems.map((body) => body["fields"])).toEqual([
      ["pan", "expiry", "name"],
      ["cvv"],
    ]);
    expect(world.redeems[1]?.["key"]).toEqual(world.redeems[0]?.["key"]);
    expect(world.events.at(-1)).toEqual({
      redemption: "rdm_1",
      token: TOKEN,
      event: "displayed",
      field: "cvv",
    });
  });

  it("is not offered when the card has none, of which the page is warned", async () => {
    world.lacks = ["cvv"];
    await reveal();
    expect(find("show-cvv")).toBeNull();
    expect(root.textContent).not.toContain("CVV");
    expect(page.heard.slice(1)).toEqual([
      { type: "revealed", fields: ["pan", "expiry", "name"] },
      {
        type: "warning",
        code: "field_missing",
        message: "CVV is not available on this card.",
        field: "cvv",
      },
    ]);
  });

  it("that the card has not turns out to be none at its click", async () => {
    make({ masked: [...FIELDS] });
    world.lacks = ["cvv"];
    card.receive({ type: "reveal" });
    await settled();
    click("show-cvv");
    await page.next("needToken");
    card.receive({ type: "token", token: TOKEN });
    expect(await page.next("warning")).toMatchObject({ code: "field_missing", field: "cvv" });
    await settled();
    expect(find("show-cvv")).toBeNull();
    expect(find("note")?.textContent).toBe("CVV is not available on this card.");
    expect(page.types).not.toContain("error");
  });

  it("is offered again with the rest", async () => {
    await reveal();
    click("show-cvv");
    await page.next("revealed");
    card.hide("asked");
    world.fates = [{ answer: (answer) => (answer["window"].fields_left = []) }];
    click("show");
    await page.next("revealed");
    click("show-cvv");
    await page.next("revealed");
    expect(find("cvv")?.textContent).toBe(CARD.cvv);
  });

  it("is no longer offered when the window is over", async () => {
    make({ hideAfter: 300 });
    await reveal();
    world.advance(59_999);
    expect(find("show-cvv")?.getAttribute("aria-disabled")).toBeNull();
    world.advance(1);
    expect(find("show-cvv")?.getAttribute("aria-disabled")).toBe("true");
    expect(find("note")?.textContent).toContain("can no longer be shown");
    click("show-cvv");
    await settled();
    expect(world.redeems).toHaveLength(1);
    expect(find("pan")?.textContent).toBe(CARD.pan);
  });

  it("refused takes only itself away", async () => {
    await reveal();
    world.fates = [problem(403, "token_refused")];
    click("show-cvv");
    expect(await page.next("error")).toMatchObject({ code: "token_refused", retryable: false });
    expect(find("show-cvv")?.getAttribute("aria-disabled")).toBe("true");
    expect(find("pan")?.textContent).toBe(CARD.pan);
  });

  it("that could not be fetched may be asked for again", async () => {
    await reveal();
    world.fates = ["lose request", "lose request", "lose request"];
    click("show-cvv");
    expect(await page.next("error")).toMatchObject({ code: "unavailable", retryable: true });
    expect(find("note")?.textContent).toContain("Try again");
    click("show-cvv");
    await page.next("revealed");
    expect(find("cvv")?.textContent).toBe(CARD.cvv);
  });
});

describe("countdown", () => {
  it("counts seconds and hides at the last", async () => {
    make({ hideAfter: 5 });
    await reveal();
    for (const left of [4, 3, 2, 1]) {
      world.advance(1000);
      expect(find("countdown")?.textContent).toBe(`Hides in ${left} s`);
    }
    world.advance(999);
    expect(state()).toBe("shown");
    world.advance(1);
    expect(state()).toBe("hidden");
    expect(root.textContent).toContain("Hidden to keep your card safe");
  });

  it("hides at once when the device slept through the end", async () => {
    await reveal();
    world.time += 3_600_000;
    world.advance(0);
    expect(state()).toBe("hidden");
  });
});

describe("copy", () => {
  it("writes bare digits and says so for a while (skyflow-js SK-1120)", async () => {
    await reveal();
    click("copy-pan");
    expect(await page.next("copied")).toEqual({ type: "copied", field: "pan" });
    expect(world.clipboard).toEqual([CARD.pan]);
    expect(find("note")?.textContent).toBe("Copied");
    expect(world.events.at(-1)).toMatchObject({ event: "copied", field: "pan" });
    world.advance(3000);
    expect(find("note")?.textContent).toBe("");
  });

  it("tells when nothing was copied (clipboard-copy#41)", async () => {
    await reveal();
    world.canCopy = false;
    click("copy-pan");
    expect(await page.next("warning")).toMatchObject({ code: "copy_failed" });
    expect(find("note")?.textContent).toContain("by hand");
    expect(page.types).not.toContain("copied");
    expect(state()).toBe("shown");
  });

  it.each([
    [true, ["pan", "cvv"], true, true],
    [false, ["pan", "cvv"], true, false],
    [true, ["pan"], true, false],
    [true, ["cvv"], false, true],
    [true, [], false, false],
  ] as const)(
    "needs the embed's word for a CVV (%j) and the page's (%j)",
    async (copyCvv, asked, pan, cvv) => {
      make({ copy: [...asked] }, { copyCvv });
      await reveal();
      click("show-cvv");
      await page.next("revealed");
      expect(find("copy-pan") !== null).toBe(pan);
      expect(find("copy-cvv") !== null).toBe(cvv);
    },
  );
});

describe("again", () => {
  it("within 30 s comes from the same key, without a token", async () => {
    await reveal();
    card.hide("asked");
    click("show");
    await page.next("revealed");
    expect(find("pan")?.textContent).toBe(CARD.pan);
    expect(world.redeems[1]?.["key"]).toEqual(world.redeems[0]?.["key"]);
    expect(page.types.filter((type) => type === "needToken")).toHaveLength(1);
  });

  it("later takes a new token and a new key", async () => {
    await reveal();
    card.hide("asked");
    world.advance(30_000);
    await reveal(`${TOKEN}2`);
    expect(find("pan")?.textContent).toBe(CARD.pan);
    expect(world.redeems[1]?.["key"]).not.toEqual(world.redeems[0]?.["key"]);
  });

  it("asks for a token when the server repeats itself no more", async () => {
    await reveal();
    card.hide("asked");
    world.fates = [problem(403, "token_refused")];
    card.receive({ type: "reveal" });
    await page.next("needToken");
    expect(page.types).not.toContain("error");
  });

  it("is not offered when the page has no further token", async () => {
    make({ renewable: false });
    await reveal();
    world.advance(60_000);
    expect(find("show")).toBeNull();
    card.receive({ type: "reveal" });
    await page.next("needToken");
    card.receive({ type: "noToken" });
    expect(await page.next("error")).toMatchObject({ code: "token_failed", retryable: false });
    expect(find("error")?.textContent).toContain("Go back and open your card again");
    expect(find("retry")).toBeNull();
  });

  it("after the page was left takes a new token", async () => {
    await reveal();
    card.leave();
    card.receive({ type: "reveal" });
    await page.next("needToken");
    expect(world.redeems).toHaveLength(1);
  });
});

describe("failure", () => {
  it("that passes is tried again with the same key", async () => {
    world.fates = ["lose answer", "lose answer", "lose answer"];
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    expect(await page.next("error")).toMatchObject({ code: "unavailable", retryable: true });
    click("retry");
    await page.next("revealed");
    expect(new Set(world.redeems.map((body) => JSON.stringify(body["key"]))).size).toBe(1);
  });

  it("for a spent token shows its words, the reference and a way to a new one", async () => {
    world.fates = [problem(403, "token_refused")];
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    expect(await page.next("error")).toEqual({
      type: "error",
      code: "token_refused",
      message:
        "Your card can no longer be opened from here. The access has expired or was already used. Go back and open your card again.",
      retryable: true,
      requestId: "req_1",
    });
    expect(find("error")?.getAttribute("role")).toBe("alert");
    expect(find("error")?.textContent).toContain("Reference: req_1");
    click("retry");
    await page.next("needToken");
  });

  it("for haste makes the cardholder wait", async () => {
    world.fates = [problem(429, "rate_limited", { "retry-after": "7" })];
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    await page.next("error");
    expect(find("retry")?.textContent).toBe("Try again in 7 s");
    world.advance(6999);
    expect(find("retry")?.textContent).toBe("Try again in 1 s");
    expect(find("retry")?.getAttribute("aria-disabled")).toBe("true");
    click("retry");
    expect(state()).toBe("failed");
    world.advance(1);
    expect(find("retry")?.textContent).toBe("Try again");
    expect(find("retry")?.getAttribute("aria-disabled")).toBe("false");
    click("retry");
    expect(state()).toBe("loading");
  });

  it("of the page to bring a token is told", async () => {
    card.receive({ type: "reveal" });
    card.receive({ type: "noToken" });
    expect(await page.next("error")).toMatchObject({ code: "token_failed", retryable: true });
  });

  it("of the browser to make a key is told", async () => {
    vi.spyOn(crypto.subtle, "generateKey").mockRejectedValue(new Error("no such curve"));
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    expect(await page.next("error")).toMatchObject({ code: "unsupported", retryable: false });
  });
});

describe("the focus", () => {
  it('did fall to the body on "Show card details", and stays in the card', async () => {
    await reveal();
    card.receive({ type: "hide" });
    find("show")?.focus();
    click("show");
    expect(state()).toBe("loading");
    expect(document.activeElement).toBe(find("card"));
    await page.next("revealed");
    expect(state()).toBe("shown");
    expect(document.activeElement).toBe(find("hide"));
  });

  it('did fall to the body on "Try again", and stays in the card', async () => {
    world.fates = [
      problem(503, "unavailable"),
      problem(503, "unavailable"),
      problem(503, "unavailable"),
    ];
    card.receive({ type: "reveal" });
    card.receive({ type: "token", token: TOKEN });
    await page.next("error");
    find("retry")?.focus();
    click("retry");
    expect(document.activeElement).toBe(find("card"));
    await settled();
    expect(root.contains(document.activeElement)).toBe(true);
    expect(document.activeElement).not.toBe(document.body);
  });
});

it("hiding moved the last four: dots and digits have the same places", async () => {
  await reveal();
  const places = () =>
    [...root.querySelectorAll(".digits .group")].map((group) => group.children.length);
  const labels = () => [...root.querySelectorAll("dt")].map(({ textContent }) => textContent);
  const shown = [places(), labels()];
  card.receive({ type: "hide" });
  expect(state()).toBe("hidden");
  expect([places(), labels()]).toEqual(shown);
});

describe("words and looks", () => {
  it("come in the page's language and with its labels", async () => {
    make({ locale: "de", labels: { hide: "Weg damit" } }, { words: wordsOf("de") });
    await reveal();
    expect(document.documentElement.lang).toBe("de");
    expect(find("hide")?.textContent).toBe("Weg damit");
    expect(find("countdown")?.textContent).toBe("Noch 60 s sichtbar");
  });

  it("cannot be markup", async () => {
    make({ labels: { hide: "<img src=x onerror=alert(1)>" } });
    await reveal();
    expect(root.querySelector("img")).toBeNull();
    expect(find("hide")?.textContent).toBe("<img src=x onerror=alert(1)>");
  });

  it("obey the allow-list", () => {
    make({ appearance: { theme: "dark", accent: "#ffd166", radius: 4, label: "<b>Saltmarsh" } });
    card.receive({ type: "reveal" });
    expect(root.querySelector(".label")?.textContent).toBe("<b>Saltmarsh");
    const { dataset, style } = document.documentElement;
    expect(dataset["theme"]).toBe("dark");
    expect(style.getPropertyValue("--face-ink")).toBe("#000000");
    expect(style.getPropertyValue("--radius")).toBe("4px");
  });
});

describe("an update", () => {
  const spent = () => [
    world.redeems.length,
    world.events.length,
    page.types.filter((type) => type === "needToken").length,
  ];

  it("changes looks, words and buttons of a card that is shown, and asks for nothing", async () => {
    await reveal();
    const [before, pan] = [spent(), find("pan")?.textContent];
    world.advance(10_000);
    card.receive({
      type: "update",
      appearance: { theme: "dark", accent: "#ffd166", radius: 4 },
      labels: { hide: "Fini", card: "Ma carte" },
      copy: [],
    });
    card.receive({ type: "update", locale: "de" });
    await settled();
    expect(find("pan")?.textContent).toBe(pan);
    expect(find("hide")?.textContent).toBe("Fini");
    expect(find("countdown")?.textContent).toBe("Noch 50 s sichtbar");
    expect(find("copy-pan")).toBeNull();
    expect(document.documentElement.dataset["theme"]).toBe("dark");
    expect(document.documentElement.style.getPropertyValue("--radius")).toBe("4px");
    expect(document.documentElement.lang).toBe("de");
    expect(page.heard.slice(-1)).toEqual([{ type: "title", title: "Ma carte" }]);
    expect(spent()).toEqual(before);
  });

  it("takes back what is no longer said", async () => {
    await reveal();
    card.receive({
      type: "update",
      appearance: {
        theme: "light",
        accent: "#ffd166",
        radius: 4,
        colors: { ink: "#000000" },
        text: { fontSize: 20 },
      },
    });
    card.receive({ type: "update", appearance: { theme: "auto" } });
    expect(document.documentElement.style.cssText).toBe("");
  });

  it("is without effect before the card is configured, and after it is gone", async () => {
    const early = new Card(CONFIG, world, new View(root, CONFIG.words), page.post);
    early.receive({ type: "update", locale: "de" });
    make();
    await reveal();
    card.receive({ type: "destroy" });
    card.receive({ type: "update", locale: "de", labels: { hide: "Evil" } });
    await settled();
    expect(root.textContent).toBe("");
    expect(world.languages).toEqual([]);
  });

  it("counts hideAfter from when the card was shown, however often it comes", async () => {
    await reveal();
    for (let i = 0; i < 10; i += 1) {
      world.advance(5_000);
      card.receive({ type: "update", hideAfter: 60 });
    }
    expect(state()).toBe("shown");
    world.advance(9_999);
    expect(state()).toBe("shown");
    const timers = world.timersLeft;
    card.receive({ type: "update", hideAfter: 60 });
    expect(world.timersLeft).toBe(timers);
    world.advance(1);
    expect(state()).toBe("hidden");
    expectNoDigits();
    expect(page.types.slice(-2)).toEqual(["expired", "hidden"]);
  });

  it("hides at once a card whose new time has passed", async () => {
    await reveal();
    world.advance(20_000);
    card.receive({ type: "update", hideAfter: 20 });
    expect(state()).toBe("hidden");
    expect(page.types.slice(-2)).toEqual(["expired", "hidden"]);
  });

  it("offers no copy of the CVV where the embed does not", async () => {
    make({ masked: [] });
    await reveal();
    card.receive({ type: "update", copy: ["cvv", "pan"] });
    expect(find("copy-cvv")).toBeNull();
    expect(find("copy-pan")).not.toBeNull();
  });

  it("speaks in every other state as well", async () => {
    card.receive({ type: "update", locale: "de" });
    card.receive({ type: "hide" });
    await settled();
    expect(find("show")?.getAttribute("aria-label")).toBe(wordsOf("de").labels.show);
    card.receive({ type: "reveal" });
    await page.next("needToken");
    card.receive({ type: "noToken" });
    await page.next("error");
    card.receive({ type: "update", locale: "fr" });
    await settled();
    expect(find("error")?.textContent).toContain(wordsOf("fr").errors.token_failed[0]);
    expect(find("retry")).not.toBeNull();
  });

  it("keeps the focus where it was", async () => {
    await reveal();
    find("copy-pan")?.focus();
    card.receive({ type: "update", labels: { hide: "Fini" } });
    expect((document.activeElement as HTMLElement).dataset["testid"]).toBe("cardveil-copy-pan");
  });

  it("fetches the words of each language once, and stays with those at hand without them", async () => {
    await reveal();
    for (const locale of ["en-GB", "de", "de-CH", "de"]) card.receive({ type: "update", locale });
    await settled();
    expect(world.languages).toEqual(["de"]);
    expect(find("hide")?.textContent).toBe(wordsOf("de").labels.hide);
    // A server from before has no such address; one that is down is asked again.
    world.wordFates = [404, 503, "lose"];
    for (const locale of ["fr", "fr", "es", "es", "es"]) {
      card.receive({ type: "update", locale });
      await settled();
      if (world.wordFates.length > 0)
        expect(find("hide")?.textContent).toBe(wordsOf("de").labels.hide);
    }
    expect(world.languages).toEqual(["de", "fr", "es", "es", "es"]);
    expect(find("hide")?.textContent).toBe(wordsOf("es").labels.hide);
  });

  it("takes the words of the language that was asked for last", async () => {
    await reveal();
    let late = (_: Response) => {};
    const fetch = world.fetch;
    world.fetch = (path, init) =>
      path.endsWith("/ja") ? new Promise((answer) => (late = answer)) : fetch(path, init);
    card.receive({ type: "update", locale: "ja" });
    card.receive({ type: "update", locale: "fr" });
    await settled();
    late(Response.json(wordsOf("ja")));
    await settled();
    expect(find("hide")?.textContent).toBe(wordsOf("fr").labels.hide);
  });
});

describe("a frame that cannot be seen", () => {
  const until = async (type: ForPage["type"]) => {
    await page.next(type);
    await settled();
  };

  it("asks for nothing, tells the page after a grace, and goes on by itself", async () => {
    world.sight.become("covered");
    card.receive({ type: "reveal" });
    await settled();
    world.advance(1499);
    expect(page.heard).toEqual([]);
    world.advance(1);
    const { covered } = CONFIG.words.labels;
    expect(page.heard).toEqual([
      { type: "warning", code: "frame_covered", message: covered, cause: "covered" },
    ]);
    expect(find("note")?.textContent).toBe(covered);
    world.advance(600_000);
    expect(page.heard).toHaveLength(1);
    expect(world.redeems).toEqual([]);
    expectNoDigits();
    const needed = page.next("needToken");
    world.sight.become("seen");
    await needed;
    expect(find("note")?.textContent).toBe("");
    card.receive({ type: "token", token: TOKEN });
    await until("revealed");
    expect(world.events).toEqual([
      { redemption: "rdm_1", token: TOKEN, event: "displayed", visible: true },
    ]);
  });

  it("is not told of where it is faded in, or scrolled out of view", async () => {
    world.sight.become("covered");
    card.receive({ type: "reveal" });
    world.advance(1000);
    world.sight.become("outside");
    world.advance(60_000);
    expect(page.heard).toEqual([]);
    world.sight.become("too_small");
    world.advance(1500);
    expect(page.heard).toEqual([
      expect.objectContaining({ code: "frame_covered", cause: "too_small" }),
    ]);
  });

  it("keeps a token that was brought meanwhile", async () => {
    card.receive({ type: "reveal" });
    await page.next("needToken");
    world.sight.become("covered");
    card.receive({ type: "token", token: TOKEN });
    await settled();
    expect(world.redeems).toEqual([]);
    world.sight.become("seen");
    await until("revealed");
    expect(world.redeems).toHaveLength(1);
  });

  it("displays nothing, though it was revealed", async () => {
    world.painted = async () => world.sight.become("covered");
    world.sight.become("seen");
    await reveal();
    expect(world.events).toEqual([]);
    world.advance(1500);
    expect(page.heard.at(-1)).toMatchObject({ type: "warning", code: "frame_covered" });
    world.sight.become("seen");
    await settled();
    expect(world.events).toEqual([expect.objectContaining({ event: "displayed", visible: true })]);
  });

  it("fetches no field at a click", async () => {
    world.sight.become("seen");
    await reveal();
    world.sight.become("covered");
    click("show-cvv");
    await settled();
    expect(world.redeems).toHaveLength(1);
    world.sight.become("seen");
    await until("revealed");
    expect(world.redeems[1]?.["fields"]).toEqual(["cvv"]);
  });

  it("copies nothing, nor does one that was uncovered under the finger", async () => {
    world.sight.become("seen");
    await reveal();
    click("copy-pan");
    await until("warning");
    world.advance(300);
    click("copy-pan");
    await until("copied");
    world.sight.become("covered");
    click("copy-pan");
    await until("warning");
    expect(world.clipboard).toEqual([CARD.pan]);
  });

  it("drops its wait when it is hidden or ended", async () => {
    world.sight.become("covered");
    card.receive({ type: "reveal" });
    card.receive({ type: "hide" });
    world.sight.become("seen");
    await settled();
    expect(page.heard).toEqual([]);
    world.sight.become("covered");
    card.receive({ type: "reveal" });
    card.destroy();
    world.sight.become("seen");
    world.advance(10_000);
    await settled();
    expect(page.heard).toEqual([]);
    expect(world.timersLeft).toBe(0);
  });
});

describe("what is said of being seen", () => {
  it("is left out where the browser cannot tell", async () => {
    await reveal();
    expect(world.events).toEqual([{ redemption: "rdm_1", token: TOKEN, event: "displayed" }]);
  });

  it("is left out for a server from before, which refuses it", async () => {
    world.sight.become("seen");
    world.eventFates = [400];
    await reveal();
    expect(world.events).toEqual([
      { redemption: "rdm_1", token: TOKEN, event: "displayed", visible: true },
      { redemption: "rdm_1", token: TOKEN, event: "displayed" },
    ]);
  });
});
