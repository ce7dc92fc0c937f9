/**
 * What is left of a card in the browser's memory, by the browser's own heap snapshots.
 *
 * Counts as a failure: the card's number in a heap, a document, a storage or a cache after it was
 * taken off the screen. That a snapshot does find it while it is shown is a test as well.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Browser, itNeeds, launch } from "../src/browsers/index.ts";
import { Cardholder, press } from "../src/cardholder.ts";
import { type Demo, startDemo } from "../src/demo.ts";

let demo: Demo;
let browser: Browser;
let ada: Cardholder;
let visa: string;
/** The number, and what the answer held before it was parsed. */
const LEFTOVERS = /4111111111111111|4 1 1 1, 1|"pan":"\d/;

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
  visa =
    demo.cards.find(({ last_four, state }) => last_four === "1111" && /^active$/i.test(state))
      ?.card_no ?? "";
});

afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});

beforeEach(async () => {
  ada = await Cardholder.arrive(browser, demo);
  await ada.show(visa);
  await ada.in("show-cvv").click();
  await ada.in("cvv").waitFor();
});

afterEach(() => ada.leave());

/** Looks without ever holding the number itself, which would put it there. */
async function expectNothingLeft(...documents: ("frame" | "page")[]): Promise<void> {
  for (const name of documents) {
    const where = name === "frame" ? ada.frame : ada.page;
    // What was on the screen is the browser's until the next picture is drawn, which takes a busy
    // machine a while.
    await where.evaluate(
      () =>
        new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(0)))),
    );
    expect(await where.evaluate(() => document.documentElement.outerHTML)).not.toMatch(LEFTOVERS);
    expect(await ada.stored(where)).toEqual([0, 0, 0, 0, 0]);
    expect(await ada.heap(name)).not.toMatch(LEFTOVERS);
  }
}

describe("the heap", () => {
  itNeeds("heap snapshots")(
    "of the frame holds the number while it is shown, and that of the page never",
    async () => {
      expect(await ada.heap("frame")).toMatch(LEFTOVERS);
      expect(await ada.heap("page")).not.toMatch(LEFTOVERS);
    },
  );

  itNeeds("heap snapshots")("holds no number after hide", async () => {
    await ada.in("hide").click();
    await ada.in("show").waitFor();
    await expectNothingLeft("frame", "page");
  });

  itNeeds("heap snapshots")("holds no number after a copy and hide", async () => {
    await press(ada.in("copy-pan"));
    await ada.by("seen-copied").waitFor();
    await ada.in("hide").click();
    await ada.in("show").waitFor();
    await expectNothingLeft("frame", "page");
  });

  itNeeds("heap snapshots")("holds no number after pagehide", async () => {
    await ada.frame.evaluate(
      () => void window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })),
    );
    await ada.in("show").waitFor();
    await expectNothingLeft("frame", "page");
  });

  itNeeds("heap snapshots")(
    "holds no number after destroy, which takes the frame away",
    async () => {
      await press(ada.by("close-card"));
      await ada.by("cardveil-frame").waitFor({ state: "detached" });
      await expectNothingLeft("page");
    },
  );

  itNeeds("heap snapshots")(
    "holds no number after the page was left, and come back to",
    async () => {
      await ada.page.goto(`${demo.shop_url}/shop.css`);
      expect(await ada.heap("page")).not.toMatch(LEFTOVERS);
      await ada.page.goBack();
      await ada.page.locator("[data-testid=show-card]:enabled:not([hidden])").waitFor();
      await expectNothingLeft("page");
    },
  );
});

it("the documents and storages hold no number after hide, in any browser", async () => {
  await ada.in("hide").click();
  await ada.in("show").waitFor();
  expect(await ada.frameText()).not.toMatch(LEFTOVERS);
  expect(await ada.page.content()).not.toMatch(LEFTOVERS);
});
