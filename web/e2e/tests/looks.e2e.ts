/** What people see and hear: keyboard, screen readers (axe), small screens, pictures to look at. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { complaints } from "../src/axe.ts";
import {
  type Browser,
  itForEach,
  itNeeds,
  itOnce,
  launch,
  type Look,
} from "../src/browsers/index.ts";
import type { Frame, Locator } from "../src/browsers/page.ts";
import { Cardholder, press } from "../src/cardholder.ts";
import { type Demo, startDemo } from "../src/demo.ts";

let demo: Demo;
let browser: Browser;
let ada: Cardholder;

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
});

afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});

afterEach(() => ada?.leave());

async function arrive(look: Partial<Look> = {}): Promise<void> {
  ada = await Cardholder.arrive(browser, demo, { reducedMotion: "reduce", ...look });
}

const fits = (frame: Frame) =>
  frame.evaluate(() => ({
    sideways: document.documentElement.scrollWidth <= window.innerWidth,
    down: document.documentElement.scrollHeight <= window.innerHeight,
  }));

/** On how many lines the groups of a card number are. */
const lines = (pan: Locator) =>
  pan.evaluate(
    (pan) => new Set([...pan.children].map((group) => group.getBoundingClientRect().top)).size,
  );

describe.each(["light", "dark"] as const)("in %s", (colorScheme) => {
  const inEach = colorScheme === "light" ? it : itOnce;
  inEach("axe finds nothing in the page or in any state of the frame", async () => {
    await arrive({ colorScheme });
    expect(await complaints(ada.page)).toEqual([]);
    await ada.show();
    expect(await complaints(ada.page)).toEqual([]);
    expect(await complaints(ada.page, ada.frame)).toEqual([]);
    await ada.in("show-cvv").click();
    await ada.in("cvv").waitFor();
    expect(await complaints(ada.page, ada.frame)).toEqual([]);
    await ada.in("hide").click();
    await ada.in("show").waitFor();
    expect(await complaints(ada.page, ada.frame)).toEqual([]);
    await press(ada.by("close-card"));
    await ada.mount({ token: "cvt_test_spent" }, "error");
    expect(await complaints(ada.page, ada.frame)).toEqual([]);
  });

  // What an engine's own letters are too wide for is too wide at 320 px first.
  const rows: [string, number, number][] = [
    ["wide", 1100, 860],
    ["375", 375, 1400],
    ["320", 320, 1400],
  ];
  const at = itForEach(rows, ([name]) => name === "320" && colorScheme === "light");
  at("fits %s, and is there to look at", async (name, width, height) => {
    await arrive({ colorScheme, viewport: { width, height }, deviceScaleFactor: 2 });
    const shoot = (state: string) => ada.picture(`${state}-${name}-${colorScheme}`);
    expect(
      await ada.page.evaluate(() =>
        [...document.querySelectorAll(".cards")].every(
          (list) => list.scrollWidth <= list.clientWidth,
        ),
      ),
    ).toBe(true);
    await shoot("shop");
    await ada.show();
    await ada.in("show-cvv").click();
    await ada.in("cvv").waitFor();
    expect(await fits(ada.frame)).toEqual({ sideways: true, down: true });
    expect(await fits(ada.page)).toMatchObject({ sideways: true });
    expect(await lines(ada.in("pan"))).toBe(1);
    await shoot("shown");
    // By key: right after a screenshot Chromium may take a click on a frame of another site for one
    // on the page.
    await ada.in("hide").press("Enter");
    await ada.in("show").waitFor();
    await shoot("hidden");
    await press(ada.by("close-card"));
    await ada.mount({ token: "cvt_test_spent" }, "error");
    expect(await fits(ada.frame)).toMatchObject({ sideways: true });
    await shoot("refused");
  });
});

itNeeds("forced colours")("can be read in forced colours", async () => {
  await arrive({ forcedColors: "active" });
  await ada.show();
  const border = await ada.frame.evaluate(
    () => getComputedStyle(document.querySelector(".face") as Element).borderTopStyle,
  );
  expect(border).toBe("solid");
  await ada.picture("shown-forced-colours");
});

it("can be done by keyboard alone, and the focus comes out again", async () => {
  await arrive();
  const press = (key: string) => ada.page.keyboard.press(key);
  const focused = async () => {
    const framed = (await ada.by("cardveil-frame").count()) > 0;
    const documents: Frame[] = framed ? [ada.page, ada.frame] : [ada.page];
    return Promise.all(
      documents.map((document_) =>
        document_.evaluate(
          () => (document.activeElement as HTMLElement | null)?.dataset["testid"] ?? "",
        ),
      ),
    );
  };
  const tabTo = async (testid: string) => {
    for (let presses = 0; presses < 20; presses += 1) {
      if ((await focused()).includes(testid)) return;
      await press("Tab");
    }
    throw new Error(`Tab does not come to ${testid}, but to ${await focused()}`);
  };
  await tabTo("show-card");
  await press("Enter");
  await ada.in("hide").waitFor();
  // From the top again.
  await ada.page.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
  });
  await tabTo("cardveil-copy-pan");
  await press("Enter");
  await ada.by("seen-copied").or(ada.by("seen-warning")).first().waitFor();
  await tabTo("cardveil-show-cvv");
  await press("Space");
  await ada.in("cvv").waitFor();
  // The button is gone; the focus stays where it was, on the digits.
  expect(await focused()).toContain("cardveil-cvv");
  await press("Tab");
  expect(await focused()).toContain("cardveil-hide-cvv");
  await press("Tab");
  expect(await focused()).toContain("cardveil-hide");
  await press("Tab");
  expect((await focused())[0]).toBe("close-card");
  await press("Shift+Tab");
  expect(await focused()).toContain("cardveil-hide");
  await press("Enter");
  await ada.in("show").waitFor();
  expect(await focused()).toContain("cardveil-show");
  await press("Tab");
  expect((await focused())[0]).toBe("close-card");
});

it("tells a screen reader what happened, and digits only where they are looked for", async () => {
  await arrive();
  await ada.show();
  const spoken = (role: string): Promise<string[]> =>
    ada.frame.locator(`[role=${role}]`).allTextContents();
  expect(await spoken("status")).toEqual(["", "Card details shown"]);
  const number: Locator = ada.frame.getByRole("img", { name: /^Card number: (\d ){3}\d, / });
  expect(await number.count()).toBe(1);
  expect(await ada.frame.getByRole("button", { name: "Copy card number" }).count()).toBe(1);
  expect(await ada.frame.getByRole("button", { name: "Show CVV" }).count()).toBe(1);
  expect(await ada.frame.getByRole("group", { name: "Your card" }).count()).toBe(1);
  await ada.in("hide").click();
  await ada.in("show").waitFor();
  expect(await spoken("status")).toEqual(["", "Card details hidden"]);
  expect(await number.count()).toBe(0);
});
