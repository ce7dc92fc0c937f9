/**
 * A card whose programme asks for a code before it shows the card.
 *
 * Counts as a failure: a card shown without a right code; a refusal after which nobody knows how to
 * go on; anything that moves when the form appears.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { codeOf, wrongCode } from "../src/authenticator.ts";
import { complaints } from "../src/axe.ts";
import { type Browser, itForEach, itOnce, launch, type Look } from "../src/browsers/index.ts";
import { Cardholder, press } from "../src/cardholder.ts";
import { type Demo, type DemoCard, startDemo } from "../src/demo.ts";

let demo: Demo;
let browser: Browser;
let ada: Cardholder;
let card: DemoCard;
let secret: string;

beforeAll(async () => {
  browser = await launch();
});

afterAll(() => browser?.close());

// One for each test: a code works once, and wrong ones lock the cardholder out.
beforeEach(async () => {
  demo = await startDemo();
  secret = demo.mfa.totp_secret;
  // The demo's own list is of its first merchant's cards.
  const { cards } = (await (await fetch(`${demo.shop_url}/api/cards`)).json()) as {
    cards: DemoCard[];
  };
  const found = cards.find(({ card_id }) => card_id === demo.mfa.card);
  if (found === undefined) throw new Error("the shop has no protected card");
  card = found;
});

afterEach(async () => {
  await ada?.leave();
  await demo?.stop();
});

/** In front of the form, or before the click that opens it. */
async function arrive(look: Partial<Look> = {}, open = true): Promise<void> {
  ada = await Cardholder.arrive(browser, demo, { reducedMotion: "reduce", ...look });
  await ada.by(`card-${card.card_no}`).click();
  if (open) await openForm();
}

async function openForm(): Promise<void> {
  await ada.by("show-card").click();
  await ada.by("code-input").and(ada.page.locator(":enabled")).waitFor();
  await ada.page.waitForFunction(() => document.activeElement?.id === "code-input");
}

async function type(code: string): Promise<void> {
  await ada.by("code-input").fill(code);
  await ada.by("code-input").press("Enter");
}

const error = () => ada.by("code-error");

async function isShown(): Promise<void> {
  await ada.in("hide").waitFor();
  expect((await ada.in("pan").textContent())?.slice(-4)).toBe(card.last_four);
}

describe("a protected card", () => {
  it("says so, and is shown after the code of the cardholder's app", async () => {
    await arrive();
    expect(await ada.by(`card-${card.card_no}`).textContent()).toContain("Protected by a code");
    expect(await ada.page.getByText("Protected by a code").count()).toBe(1);
    expect(await ada.by("cardveil-frame").count()).toBe(0);
    await ada.by("use-code").click();
    expect(await ada.by("code-input").inputValue()).toMatch(/^\d{6}$/);
    await ada.by("confirm-code").click();
    await isShown();
    expect(ada.tokens).toBe(1);
    expect(ada.redeems).toHaveLength(1);
    expect(await ada.page.content()).not.toContain(await ada.in("pan").textContent());
    expect(ada.console).toEqual([]);
  });

  itOnce.each(["Equals", "Native"])(
    "is shown with a token by %s; KeySecure's call has no place for a code",
    async (dialect) => {
      await arrive({}, false);
      expect(await ada.page.locator("input[value=keysecure]").isDisabled()).toBe(true);
      await ada.page.getByText("For developers").click();
      await ada.page.getByText(dialect, { exact: true }).click();
      await openForm();
      await type(codeOf(secret));
      await isShown();
    },
  );

  itOnce("takes a code that was pasted with spaces, and asks for all six digits", async () => {
    await arrive();
    await type("12 34");
    await expect.poll(() => error().textContent()).toContain("all six digits");
    expect(ada.tokens).toBe(0);
    const code = codeOf(secret);
    await type(` ${code.slice(0, 3)} ${code.slice(3)}`);
    await isShown();
  });

  it("asks again after a wrong code, and takes the right one (Expensify#73134, #63945, #96131)", async () => {
    await arrive();
    await type(wrongCode(secret));
    await expect.poll(() => error().textContent()).toMatch(/not accepted.*4 tries are left/);
    const input = ada.by("code-input");
    expect(await input.getAttribute("aria-invalid")).toBe("true");
    expect(await input.getAttribute("aria-describedby")).toContain(
      await error().getAttribute("id"),
    );
    expect(await input.evaluate((element) => element === document.activeElement)).toBe(true);
    await type(codeOf(secret));
    await isShown();
  });

  itOnce("ends after five wrong codes, and a new try has to wait", async () => {
    await arrive();
    for (const left of [
      "4 tries are left",
      "3 tries are left",
      "2 tries are left",
      "One try is left",
      "fifth wrong code",
    ]) {
      await type(wrongCode(secret));
      await expect.poll(() => error().textContent()).toContain(left);
    }
    expect(await ada.by("code-input").isDisabled()).toBe(true);
    expect(await ada.by("confirm-code").textContent()).toBe("Start again");
    await ada.by("confirm-code").click();
    await ada.by("problem").waitFor();
    expect(await ada.by("problem").textContent()).toMatch(
      /Too many tries.*Try again in 1[45] minutes/,
    );
    expect(await ada.by("cardveil-frame").count()).toBe(0);
    expect(await ada.by("show-card").isEnabled()).toBe(true);
  });

  itOnce("starts again when the time for a code is over", async () => {
    await arrive({}, false);
    await ada.page.clock.install();
    await openForm();
    await ada.page.clock.fastForward("04:50");
    expect(await ada.by("code-input").isEnabled()).toBe(true);
    await ada.page.clock.fastForward("00:11");
    await expect.poll(() => error().textContent()).toContain("five minutes");
    expect(await ada.by("code-input").isDisabled()).toBe(true);
    await ada.by("confirm-code").press("Enter");
    await ada.by("code-input").and(ada.page.locator(":enabled")).waitFor();
    expect(await error().textContent()).toBe("");
    await type(codeOf(secret));
    await isShown();
  });

  itOnce("takes no code twice, and the app says so", async () => {
    await arrive();
    const code = codeOf(secret);
    await type(code);
    await isShown();
    await press(ada.by("close-card"));
    await openForm();
    await type(code);
    await expect.poll(() => error().textContent()).toContain("each works once");
    await type(codeOf(secret, 1));
    await isShown();
    expect(ada.redeems).toHaveLength(2);
  });

  it("asks for another code when the frame wants another token", async () => {
    await arrive();
    await type(codeOf(secret));
    await isShown();
    // The page's leave for the browser's cache, as the browser tells the frame of it: the key is
    // gone.
    await ada.frame.evaluate(() =>
      window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })),
    );
    await ada.in("show").click();
    await ada.page.waitForFunction(() => document.activeElement?.id === "code-input");
    expect(await ada.by("cardveil-frame").count()).toBe(0);
    await type(codeOf(secret, 1));
    await isShown();
    expect(ada.tokens).toBe(2);
  });

  it("can be cancelled, by its button and by picking another card", async () => {
    await arrive();
    await press(ada.by("close-card"));
    expect(
      await ada.by("show-card").evaluate((element) => element === document.activeElement),
    ).toBe(true);
    expect(await ada.by("code-form").isVisible()).toBe(false);
    await openForm();
    const other = demo.cards.find(({ last_four }) => last_four === "1111") as DemoCard;
    await ada.show(other.card_no);
    expect((await ada.in("pan").textContent())?.slice(-4)).toBe("1111");
    expect(await ada.by("code-form").isVisible()).toBe(false);
    expect(ada.tokens).toBe(1);
  });
});

it("by keyboard alone", async () => {
  ada = await Cardholder.arrive(browser, demo, {});
  const press = (key: string) => ada.page.keyboard.press(key);
  await ada.page.locator("input[name=card]:checked").focus();
  const picked = () => ada.page.locator(`input[value="${card.card_no}"]:checked`).count();
  // Down to the last: WebKit does not go round from the first.
  for (let presses = 0; (await picked()) === 0 && presses < 20; presses += 1)
    await press("ArrowDown");
  expect(await picked()).toBe(1);
  const tabTo = async (testid: string, key = "Tab") => {
    for (let presses = 0; presses < 20; presses += 1) {
      if (
        (await ada.page.evaluate(
          () => (document.activeElement as HTMLElement).dataset["testid"],
        )) === testid
      )
        return;
      await press(key);
    }
    throw new Error(`${key} does not come to ${testid}`);
  };
  // The card is before the list.
  await tabTo("show-card", "Shift+Tab");
  await press("Enter");
  await ada.page.waitForFunction(() => document.activeElement?.id === "code-input");
  await tabTo("use-code");
  await press("Enter");
  await ada.page.waitForFunction(() => document.activeElement?.id === "code-input");
  await press("Enter");
  await isShown();
  expect(
    await ada.page.evaluate(() => (document.activeElement as HTMLElement).dataset["testid"]),
  ).toBe("close-card");
});

it("nothing moves when the form appears, and when its words change", async () => {
  for (const width of [1100, 375, 320]) {
    await arrive({ viewport: { width, height: 1400 } }, false);
    const places = () =>
      ada.page.evaluate(() =>
        [".choose", ".stage", ".seen", ".actions"].map((part) => {
          const { left, top, width, height } = (
            document.querySelector(part) as Element
          ).getBoundingClientRect();
          return [part, ...[left, top + scrollY, width, height].map(Math.round)];
        }),
      );
    const before = await places();
    await openForm();
    expect(await places()).toEqual(before);
    await type("1");
    await expect.poll(() => error().textContent()).not.toBe("");
    expect(await places()).toEqual(before);
    await ada
      .by("code-error")
      .evaluate(
        (element) =>
          (element.textContent =
            "That code was not accepted. Type the one that your app shows now: each works once. 4 tries are left."),
      );
    expect(await places()).toEqual(before);
    await ada.leave();
  }
});

itOnce("the page's authenticator agrees with RFC 6238, appendix B", async () => {
  await arrive({}, false);
  const times = [59, 1111111109, 1111111111, 1234567890, 2000000000, 20000000000];
  const codes = await ada.page.evaluate(async (times) => {
    const { codeOf, stepAt } = (await window.load("/totp.js")) as unknown as {
      codeOf(secret: string, step: number): Promise<string>;
      stepAt(ms: number): number;
    };
    return Promise.all(
      times.map((secs) => codeOf("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", stepAt(secs * 1000))),
    );
  }, times);
  // The last six of its eight digits.
  expect(codes).toEqual(["287082", "081804", "050471", "005924", "279037", "353130"]);
});

describe.each(["light", "dark"] as const)("in %s", (colorScheme) => {
  // Axe in each engine once; pictures to look at in one.
  const rows: [string, number, number][] = [
    ["wide", 1100, 1000],
    ["375", 375, 1500],
    ["320", 320, 1500],
  ];
  const at = itForEach(rows, ([name]) => name === "375" && colorScheme === "light");
  at("fits %s, and is there to look at; at 375 axe finds nothing", async (name, width, height) => {
    await arrive({ colorScheme, viewport: { width, height }, deviceScaleFactor: 2 });
    const look = async (state: string) => {
      // What axe sees does not depend on the width.
      if (name === "375") expect(await complaints(ada.page)).toEqual([]);
      expect(
        await ada.page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth),
      ).toBe(true);
      await ada.picture(`${state}-${name}-${colorScheme}`);
    };
    await look("code-asked");
    await type(wrongCode(secret));
    await expect.poll(() => error().textContent()).not.toBe("");
    await look("code-wrong");
    for (let tries = 1; tries < 5; tries += 1) {
      await ada.by("code-input").evaluate((element) => element.removeAttribute("aria-invalid"));
      await type(wrongCode(secret));
      await ada.page.locator("#code-input[aria-invalid], #code-input:disabled").waitFor();
    }
    await look("code-ended");
  });
});

itOnce("can be read in forced colours", async () => {
  await arrive({ forcedColors: "active" });
  await ada.picture("code-forced-colours");
  const input = await ada
    .by("code-input")
    .evaluate((element) => getComputedStyle(element).borderTopStyle);
  expect(input).toBe("solid");
});
