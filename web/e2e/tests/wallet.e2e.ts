/**
 * Whether a card can go into a phone's wallet, and what becomes of it there.
 *
 * Counts as a failure: a reason that nobody is told; a state that the list does not show; focus or
 * a screen reader's user left behind.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { complaints } from "../src/axe.ts";
import { type Browser, itForEach, itOnce, launch, type Look } from "../src/browsers/index.ts";
import { Cardholder } from "../src/cardholder.ts";
import { type Demo, type DemoCard, startDemo } from "../src/demo.ts";

let demo: Demo;
let browser: Browser;
let ada: Cardholder;

beforeAll(async () => {
  browser = await launch();
});

afterAll(() => browser?.close());

// One for each test, so that none finds another's cards in the wallets.
beforeEach(async () => {
  demo = await startDemo();
});

afterEach(async () => {
  await ada?.leave();
  await demo?.stop();
});

function card(lastFour: string): DemoCard {
  const found = demo.cards.find(({ last_four }) => last_four === lastFour);
  if (found === undefined) throw new Error(`the demo has no card ending in ${lastFour}`);
  return found;
}

/** In front of the open window. */
async function arrive(lastFour = "1111", look: Partial<Look> = {}): Promise<void> {
  ada = await Cardholder.arrive(browser, demo, { reducedMotion: "reduce", ...look });
  await ada.by(`card-${card(lastFour).card_no}`).click();
  await open();
}

async function open(): Promise<void> {
  await ada.by("add-to-wallet").click();
  await ada.page.getByRole("dialog", { name: "Add to wallet" }).waitFor();
}

const pick = (label: string) => ada.by("wallet").getByText(label, { exact: true }).first().click();
const result = () => ada.by("wallet-result");
const told = (text: string | RegExp) => result().filter({ hasText: text }).waitFor();
const rows = () => ada.by("wallet-token");
const reasons = () =>
  result()
    .locator("[data-reason]")
    .evaluateAll((items) => items.map((item) => (item as HTMLElement).dataset["reason"]));

async function check(): Promise<void> {
  await ada.by("wallet-check").click();
  await told(/This card can/);
}

async function simulate(decision: string): Promise<void> {
  await check();
  await pick(decision);
  const before = await rows().count();
  await ada.by("wallet-simulate").click();
  await rows().nth(before).waitFor();
}

/** What the list says, from the newest. */
const listed = () =>
  rows().evaluateAll((items) =>
    items.map((item) =>
      [".label", ".facts", ".state"]
        .map((part) => item.querySelector(part)?.textContent)
        .join(", "),
    ),
  );

describe("a card in use", () => {
  it("can go into a wallet, and the network's green puts it there", async () => {
    await arrive();
    await ada.by("wallet").getByText("This card is in no wallet yet.").waitFor();
    await check();
    await told("This card can go into Apple Pay");
    await ada.by("wallet-simulate").click();
    await told("The card is ready in Apple Pay on my phone.");
    await expect.poll(listed).toEqual(["Apple Pay, My phone, Active"]);
    await check();
    await told("This card cannot go into Apple Pay");
    expect(await reasons()).toEqual(["already_on_device"]);
    expect(await ada.by("wallet-simulate-form").isVisible()).toBe(false);
    expect(ada.redeems).toEqual([]);
    expect(ada.console).toEqual([]);
  });

  itOnce.each([
    ["Google Pay", "My watch", "Equals"],
    ["Samsung Pay", "My tablet", "Native"],
  ])("can go into %s on %s, by a token of %s", async (wallet, device, dialect) => {
    ada = await Cardholder.arrive(browser, demo);
    await ada.page.getByText("For developers").click();
    await ada.page.getByText(dialect, { exact: true }).click();
    await open();
    await pick(wallet);
    await pick(device);
    await simulate("Green");
    await expect.poll(listed).toEqual([`${wallet}, ${device}, Active`]);
  });

  itOnce("is verified when the network's decision is yellow", async () => {
    await arrive();
    await simulate("Yellow");
    await told("One more check");
    await expect.poll(listed).toEqual(["Apple Pay, My phone, To be verified"]);
    await ada.by("wallet-pass").click();
    await told("Verified");
    await expect.poll(listed).toEqual(["Apple Pay, My phone, Active"]);
  });

  itOnce(
    "is declined when that check fails, and when the decision is red (stripe-react-native#953)",
    async () => {
      await arrive();
      await simulate("Yellow");
      await ada.by("wallet-fail").click();
      await told("The check failed");
      await expect.poll(listed).toEqual(["Apple Pay, My phone, Declined"]);
      await simulate("Red");
      await told("Declined");
      await expect
        .poll(listed)
        .toEqual(["Apple Pay, My phone, Declined", "Apple Pay, My phone, Declined"]);
      expect(await rows().getByRole("button").count()).toBe(0);
    },
  );

  itOnce("can be suspended, resumed and removed, and the list is there the next time", async () => {
    await arrive();
    await simulate("Green");
    await ada.by("wallet-suspend").click();
    await told("Suspended");
    await expect.poll(listed).toEqual(["Apple Pay, My phone, Suspended"]);
    await ada.by("wallet-resume").click();
    await told("In use again");
    await expect.poll(listed).toEqual(["Apple Pay, My phone, Active"]);
    await ada.by("wallet-close").click();
    await open();
    await rows().waitFor();
    await ada.by("wallet-remove").click();
    await told("Removed");
    await expect.poll(listed).toEqual(["Apple Pay, My phone, Removed"]);
    await check();
    await told("This card can go into Apple Pay");
  });
});

itOnce("asks as the card's own programme for a card that is protected by a code", async () => {
  ada = await Cardholder.arrive(browser, demo);
  await ada.page.getByText("Protected by a code").click();
  await open();
  await simulate("Green");
  await expect.poll(listed).toEqual(["Apple Pay, My phone, Active"]);
});

itOnce("tells why a card that is suspended cannot go into a wallet", async () => {
  await arrive("5556");
  await check();
  await told("This card cannot go into Apple Pay");
  expect(await reasons()).toEqual(["card_not_active"]);
  expect(await result().textContent()).toContain("The card is not in use");
  expect(await ada.by("wallet-simulate-form").isVisible()).toBe(false);
});

itOnce(
  "tells every reason, and forgets them when something else is picked (stripe-ios#1791)",
  async () => {
    await arrive();
    ada.wire.fault(/\/wallet\/check$/, async (pass) => {
      const answer = await pass();
      const reasons = [
        "card_not_active",
        "wallet_not_enabled",
        "bin_not_enabled",
        "product_not_enabled",
        "token_limit_reached",
        "already_on_device",
      ];
      return {
        ...answer,
        body: Buffer.from(
          JSON.stringify({ ...JSON.parse(answer.body.toString()), eligible: false, reasons }),
        ),
      };
    });
    await check();
    expect(await reasons()).toHaveLength(6);
    for (const text of await result().getByRole("listitem").allTextContents())
      expect(text).toMatch(/^The card .{20,}\.$/);
    await pick("Google Pay");
    expect(await result().textContent()).toBe("");
  },
);

itOnce("tells of a backend that cannot be reached", async () => {
  await arrive();
  ada.wire.fault(/\/wallet\/check$/, async () => "cut");
  await ada.by("wallet-check").click();
  await told("The shop could not be reached");
  ada.wire.mend();
  await check();
});

it("by keyboard alone, and the focus goes back to where it came from", async () => {
  ada = await Cardholder.arrive(browser, demo);
  const press = (key: string) => ada.page.keyboard.press(key);
  const focused = () =>
    ada.page.evaluate(() => {
      const { dataset, id, value } = document.activeElement as HTMLInputElement;
      return dataset["testid"] ?? (id || value);
    });
  const tabTo = async (what: string) => {
    for (let presses = 0; presses < 25; presses += 1) {
      if ((await focused()) === what) return;
      await press("Tab");
    }
    throw new Error(`Tab does not come to ${what}, but to ${await focused()}`);
  };
  await tabTo("add-to-wallet");
  await press("Enter");
  await ada.page.getByRole("dialog").waitFor();
  await tabTo("APPLE_PAY");
  await press("ArrowRight");
  await tabTo("wallet-check");
  await press("Enter");
  await told("This card can go into Google Pay");
  await tabTo("green");
  await press("ArrowRight");
  await tabTo("wallet-simulate");
  await press("Space");
  await rows().waitFor();
  await expect.poll(focused).toBe("wallet-tokens-title");
  await tabTo("wallet-pass");
  await press("Enter");
  await told("Verified");
  await expect.poll(focused).toBe("wallet-suspend");
  await tabTo("wallet-remove");
  await press("Enter");
  await told("Removed");
  await expect.poll(focused).toBe("wallet-tokens-title");
  await press("Escape");
  await ada.page.getByRole("dialog").waitFor({ state: "hidden" });
  expect(await focused()).toBe("add-to-wallet");
});

itOnce("names everything for a screen reader, and reads results out", async () => {
  await arrive();
  const window = ada.page.getByRole("dialog", { name: "Add to wallet" });
  for (const name of ["Wallet", "Device"])
    expect(await window.getByRole("group", { name }).count()).toBe(1);
  expect(await window.getByRole("radio").count()).toBe(6);
  expect(await window.getByRole("status").textContent()).toBe("");
  await simulate("Green");
  expect(await window.getByRole("status").textContent()).toContain("Added");
  expect(await window.getByRole("button", { name: "Suspend: Apple Pay on my phone" }).count()).toBe(
    1,
  );
  expect(await window.getByRole("list").last().getByRole("listitem").count()).toBe(1);
});

describe.each(["light", "dark"] as const)("in %s", (colorScheme) => {
  // Axe in each engine once; pictures to look at in one.
  const rows: [string, number, number][] = [
    ["wide", 1100, 1000],
    ["375", 375, 900],
    ["320", 320, 900],
  ];
  const at = itForEach(rows, ([name]) => name === "375" && colorScheme === "light");
  at("fits %s, and is there to look at; at 375 axe finds nothing", async (name, width, height) => {
    await arrive("1111", { colorScheme, viewport: { width, height }, deviceScaleFactor: 2 });
    const look = async (state: string) => {
      // What axe sees does not depend on the width.
      if (name === "375") expect(await complaints(ada.page)).toEqual([]);
      const fits = () =>
        ada
          .by("wallet")
          .evaluate(
            (window) =>
              window.scrollWidth <= window.clientWidth && window.clientHeight <= innerHeight,
          );
      expect(await fits()).toBe(true);
      await ada.picture(`${state}-${name}-${colorScheme}`);
    };
    await look("wallet-asked");
    await check();
    await look("wallet-eligible");
    await pick("My watch");
    await simulate("Red");
    await pick("Samsung Pay");
    await simulate("Yellow");
    await pick("Apple Pay");
    await simulate("Green");
    await look("wallet-list");
    await check();
    await look("wallet-refused");
  });
});

itOnce("can be read in forced colours", async () => {
  await arrive("1111", { forcedColors: "active" });
  await check();
  const border = await result()
    .locator(".verdict")
    .evaluate((element) => getComputedStyle(element).borderTopStyle);
  expect(border).toBe("solid");
  await ada.picture("wallet-forced-colours");
});
