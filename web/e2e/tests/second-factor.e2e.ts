/**
 * A card whose programme asks for a code before it shows the card.
 *
 * Counts as a failure: a card shown without a right code; a refusal after which nobody knows how to
 * go on; anything that moves when the form appears.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { codeOf, wrongCode } from "../src/authenticator.ts";
import { complaints } from "../src/axe.ts";
import {
  type Browser,
  itForEach,
  itNeeds,
  itOnce,
  launch,
  type Look,
} from "../src/browsers/index.ts";
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
  await ada.in("code").waitFor();
}

async function type(code: string): Promise<void> {
  // WebKit's driver types into what was clicked alone.
  await ada.in("code").click();
  await ada.in("code").fill(code);
  await ada.in("code").press("Enter");
}

const error = () => ada.in("code-error").textContent();

async function isShown(): Promise<void> {
  await ada.in("hide").waitFor();
  expect((await ada.in("pan").textContent())?.slice(-4)).toBe(card.last_four);
}

describe("a protected card", () => {
  it("says so, and is shown after the code of the cardholder's app", async () => {
    await arrive();
    expect(await ada.by(`card-${card.card_no}`).textContent()).toContain("Protected by a code");
    expect(await ada.page.getByText("Protected by a code").count()).toBe(1);
    const shown = (await ada.by("app-code").textContent())?.replace(/\s/g, "");
    expect([codeOf(secret), codeOf(secret, -1)]).toContain(shown);
    expect(ada.redeems).toHaveLength(0);
    await ada.in("code").click();
    await ada.in("code").fill(codeOf(secret));
    await ada.in("confirm").click();
    await isShown();
    expect(ada.tokens).toBe(1);
    expect(ada.redeems).toHaveLength(1);
    expect(await ada.page.content()).not.toContain(await ada.in("pan").textContent());
    expect(ada.console).toEqual([]);
  });

  itOnce.each(["KeySecure", "Equals", "Native"])(
    "is shown with a token by %s, whose call has no place for a code or is sent none",
    async (dialect) => {
      await arrive({}, false);
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
    await expect.poll(error).toContain("all six digits");
    expect(ada.redeems).toHaveLength(0);
    const code = codeOf(secret);
    await type(` ${code.slice(0, 3)} ${code.slice(3)}`);
    await isShown();
  });

  it("asks again after a wrong code, and takes the right one (Expensify#73134, #63945, #96131)", async () => {
    await arrive();
    await type(wrongCode(secret));
    await expect.poll(error).toMatch(/not accepted.*Tries left: 4/);
    const input = ada.in("code");
    expect(await input.getAttribute("aria-invalid")).toBe("true");
    expect(await input.getAttribute("aria-describedby")).toContain(
      await ada.in("code-error").getAttribute("id"),
    );
    expect(await input.inputValue()).toBe("");
    await type(codeOf(secret));
    await isShown();
  });

  itOnce("ends after five wrong codes, and a new try has to wait", async () => {
    await arrive();
    for (const left of [4, 3, 2, 1]) {
      await type(wrongCode(secret));
      await expect.poll(error).toContain(`Tries left: ${left}`);
    }
    await type(wrongCode(secret));
    await expect
      .poll(() => ada.in("code-form").textContent())
      .toMatch(/Too many tries.*Try again in 1[45] minutes/);
  });

  it("is still asked for when the cardholder comes back from the app with the code", async () => {
    await arrive();
    await ada.frame.evaluate(() => {
      Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
      Object.defineProperty(document, "visibilityState", { value: "visible", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await type(codeOf(secret));
    await isShown();
  });

  it("asks for another code when the frame wants another token", async () => {
    await arrive();
    const code = codeOf(secret);
    await type(code);
    await isShown();
    // The page's leave for the browser's cache, as the browser tells the frame of it: the key is
    // gone.
    await ada.frame.evaluate(() =>
      window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })),
    );
    await ada.in("show").click();
    await ada.in("code").waitFor();
    // A code works once.
    await type(code);
    await expect.poll(error).toContain("not accepted");
    await type(codeOf(secret, 1));
    await isShown();
    expect(ada.tokens).toBe(2);
  });

  itOnce("can be left by its button and by picking another card", async () => {
    await arrive();
    await press(ada.by("close-card"));
    expect(await ada.by("cardveil-frame").count()).toBe(0);
    await openForm();
    const other = demo.cards.find(({ last_four }) => last_four === "1111") as DemoCard;
    await ada.show(other.card_no);
    expect((await ada.in("pan").textContent())?.slice(-4)).toBe("1111");
    expect(await ada.by("app").isVisible()).toBe(false);
  });
});

it("by keyboard alone", async () => {
  await arrive({}, false);
  const press = (key: string) => ada.page.keyboard.press(key);
  await ada.by("show-card").focus();
  await press("Enter");
  await ada.in("code").waitFor();
  const focused = () =>
    ada.frame.evaluate(() => (document.activeElement as HTMLElement).dataset["testid"]);
  // The card is before the button that closes it, which has the focus.
  for (let presses = 0; (await focused()) !== "cardveil-code" && presses < 5; presses += 1)
    await press("Shift+Tab");
  expect(await focused()).toBe("cardveil-code");
  for (const digit of codeOf(secret)) await press(digit);
  await press("Tab");
  expect(await focused()).toBe("cardveil-confirm");
  await press("Enter");
  await isShown();
  await expect.poll(focused).toBe("cardveil-hide");
});

it("nothing in the page moves when the form appears, and when its words change", async () => {
  for (const width of [1100, 375]) {
    await arrive({ viewport: { width, height: 1400 } }, false);
    await ada.by("show-card").click();
    await ada.in("code").waitFor();
    const places = () =>
      ada.page.evaluate(() =>
        [".choose", ".stage", ".actions", ".app"].map((part) => {
          const { left, top, width, height } = (
            document.querySelector(part) as Element
          ).getBoundingClientRect();
          return [part, ...[left, top + scrollY, width, height].map(Math.round)];
        }),
      );
    const before = await places();
    await type("1");
    await expect.poll(error).not.toBe("");
    expect(await places()).toEqual(before);
    await type(wrongCode(secret));
    await expect.poll(error).toContain("Tries left");
    expect(await places()).toEqual(before);
    await type(codeOf(secret));
    await isShown();
    expect(await places()).toEqual(before);
    await ada.leave();
    if (width === 1100) {
      await demo.stop();
      demo = await startDemo();
    }
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
  const rows: [string, number, number][] = [
    ["wide", 1100, 1000],
    ["375", 375, 1500],
    ["320", 320, 1500],
  ];
  // A picture to look at is one of any engine.
  const at = itForEach(rows, ([name]) => name === "375" && colorScheme === "light");
  at("fits %s, and is there to look at; at 375 axe finds nothing", async (name, width, height) => {
    await arrive({ colorScheme, viewport: { width, height }, deviceScaleFactor: 2 });
    const look = async (state: string) => {
      // What axe sees does not depend on the width.
      if (name === "375") {
        expect(await complaints(ada.page)).toEqual([]);
        expect(await complaints(ada.page, ada.frame)).toEqual([]);
      }
      for (const document of [ada.page, ada.frame])
        expect(
          await document.evaluate(
            () => window.document.documentElement.scrollWidth <= window.innerWidth,
          ),
        ).toBe(true);
      await ada.picture(`${state}-${name}-${colorScheme}`);
    };
    await look("code-asked");
    await type(wrongCode(secret));
    await expect.poll(error).toContain("Tries left: 4");
    await look("code-wrong");
    for (const left of [3, 2, 1]) {
      await type(wrongCode(secret));
      await expect.poll(error).toContain(`Tries left: ${left}`);
    }
    await type(wrongCode(secret));
    await expect.poll(() => ada.in("code-form").textContent()).toContain("Too many tries");
    await look("code-ended");
  });
});

itNeeds("forced colours")("can be read in forced colours", async () => {
  await arrive({ forcedColors: "active" });
  await ada.picture("code-forced-colours");
  const input = await ada
    .in("code")
    .evaluate((element) => getComputedStyle(element).borderTopStyle);
  expect(input).toBe("solid");
});
