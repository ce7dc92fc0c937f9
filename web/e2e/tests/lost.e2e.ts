/**
 * A frame that cannot be loaded, or takes its time: the real server, in a real browser, on a broken
 * line.
 *
 * Counts as a failure: a place that stays empty, a dead end, a token that is spent twice.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Card, CardOptions, CardveilPart } from "../../sdk/src/api.ts";
import { type Browser, itOnce, launch, type Look } from "../src/browsers/index.ts";
import { Cardholder } from "../src/cardholder.ts";
import { type Demo, type DemoCard, startDemo } from "../src/demo.ts";
import { Visits } from "../src/visits.ts";

let demo: Demo;
let browser: Browser;
let visits: Visits;
let present: Cardholder[] = [];
let visa: DemoCard;
const PAN = "4111111111111111";

declare global {
  interface Window {
    card: Card;
    lost: string[];
    veil: ReturnType<import("../../sdk/src/api.ts").CardveilFactory>;
  }
}

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
  visits = new Visits(browser);
  const found = demo.cards.find(
    (card) => card.last_four === "1111" && /^active$/i.test(card.state),
  );
  if (found === undefined) throw new Error("the demo has no active card ending in 1111");
  visa = found;
});
afterAll(async () => {
  await visits?.leave();
  await browser?.close();
  await demo?.stop();
});
afterEach(async () => {
  await Promise.all(present.splice(0).map((cardholder) => cardholder.leave()));
});

const arrive = async (look: Partial<Look> = {}) =>
  loaded(await Cardholder.arriveIn(visits, demo, look));
/** Before whom no frame is in the browser's cache. */
const arriveAnew = async () => loaded(await Cardholder.arrive(browser, demo));

/** The SDK is there, and a place for a card. */
async function loaded(ada: Cardholder): Promise<Cardholder> {
  present.push(ada);
  await ada.page.evaluate(
    async ({ clientUrl, embed }) => {
      const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
      window.veil = Cardveil({ embed });
      window.lost = [];
      document.querySelector("#card")?.replaceChildren();
    },
    { clientUrl: demo.client_url, embed: demo.embed },
  );
  return ada;
}

/** A card whose page asks its own server for a token, which is counted. */
async function mount(
  { page }: Cardholder,
  options: Omit<CardOptions, "token"> = {},
  parts: readonly CardveilPart[] = [],
): Promise<void> {
  await page.evaluate(
    ({ options, parts, cardNo }) => {
      const token = async () =>
        (await (await fetch(`/api/cards/${cardNo}/token?api=native`, { method: "POST" })).json())
          .token;
      window.card = window.veil.card({ token, locale: "en", timeouts: { frame: 5 }, ...options });
      window.card.on("error", ({ code }) => window.lost.push(code));
      const place = document.querySelector("#card") as HTMLElement;
      if (parts.length === 0) window.card.mount(place);
      else
        for (const part of parts)
          window.card.mount(place.appendChild(document.createElement("div")), part);
      place.scrollIntoView({ block: "nearest" });
    },
    { options, parts, cardNo: visa.card_no },
  );
}
const lost = ({ page }: Cardholder) =>
  page.waitForFunction(() => window.lost.length > 0).then(() => page.evaluate(() => window.lost));

describe("a frame that does not come", () => {
  it("leaves a notice with a way back, by which the card comes with one token", async () => {
    const ada = await arrive();
    ada.wire.fault(/^\/embed\//, async () => "cut");
    await mount(ada);
    await ada.by("cardveil-retry").waitFor();
    expect(await ada.by("cardveil-error-text").textContent()).toBe(
      "Your card cannot be shown right now",
    );
    expect(await lost(ada)).toHaveLength(1);
    ada.wire.mend();
    await ada.by("cardveil-retry").click();
    await ada.in("pan").waitFor();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(await ada.by("cardveil-error").count()).toBe(0);
    expect([ada.tokens, ada.redeems.length]).toEqual([1, 1]);
  });

  it("is loaded again by reveal(), in parts as well", async () => {
    const ada = await arrive();
    ada.wire.fault(/^\/embed\//, async () => "cut");
    await mount(ada, {}, ["pan", "expiry", "name"]);
    await lost(ada);
    expect(await ada.by("cardveil-error").count()).toBe(1);
    ada.wire.mend();
    await ada.page.evaluate(() => window.card.reveal());
    await ada.page
      .locator("[data-testid=cardveil-frame-pan]")
      .contentFrame()
      .locator("[data-testid=cardveil-pan]")
      .waitFor();
    expect(await ada.by("cardveil-error").count()).toBe(0);
    expect([ada.tokens, ada.redeems.length]).toEqual([1, 1]);
  });

  it("is told as offline, and comes by itself when the line is back", async () => {
    const ada = await arrive();
    // No driver of ours takes the line away from the browser's own knowledge.
    await ada.page.evaluate(
      "Object.defineProperty(navigator, 'onLine', { value: false, configurable: true })",
    );
    ada.wire.fault(/^\/embed\//, async () => "cut");
    await mount(ada);
    expect(await lost(ada)).toEqual(["offline"]);
    expect(await ada.by("cardveil-error-text").textContent()).toContain("You are offline");
    ada.wire.mend();
    await ada.page.evaluate("delete navigator.onLine; dispatchEvent(new Event('online'))");
    await ada.in("pan").waitFor();
    expect([ada.tokens, ada.redeems.length]).toEqual([1, 1]);
  });

  it("may come later than the notice, and is as good", async () => {
    const ada = await arrive();
    let go = () => {};
    const until = new Promise<void>((done) => (go = done));
    ada.wire.fault(/^\/embed\//, async (pass) => {
      await until;
      return pass();
    });
    await mount(ada);
    expect(await lost(ada)).toEqual(["frame_timeout"]);
    await ada.by("cardveil-error").waitFor();
    go();
    await ada.in("pan").waitFor();
    expect(await ada.by("cardveil-error").count()).toBe(0);
    expect([ada.tokens, ada.redeems.length]).toEqual([1, 1]);
  });

  itOnce.each([
    ["light", 320],
    ["dark", 320],
    ["dark", 768],
  ] as const)("looks finished, %s at %d px", async (colorScheme, width) => {
    const ada = await arrive({ colorScheme, viewport: { width, height: 700 } });
    ada.wire.fault(/^\/embed\//, async () => "cut");
    await mount(ada);
    await ada.by("cardveil-retry").waitFor();
    const [box, button] = await ada
      .by("cardveil-error")
      .evaluate((element) =>
        [element, element.querySelector("button") as HTMLElement].map((element) =>
          element.getBoundingClientRect().toJSON(),
        ),
      );
    expect(box.right).toBeLessThanOrEqual(width);
    expect(button.height).toBeGreaterThanOrEqual(44);
    await ada.picture(`lost-${colorScheme}-${width}`);
  });
});

describe("a prepared frame", () => {
  it("is loaded before there is a token, and becomes the card without another request for it", async () => {
    const ada = await arriveAnew();
    await ada.page.evaluate(() => window.veil.prepare("#card"));
    await ada.wire.until(({ url, status }) => url.pathname.startsWith("/embed/") && status === 200);
    expect(await ada.page.locator("#card iframe").isVisible()).toBe(false);
    await mount(ada, { locale: "de" });
    await ada.in("pan").waitFor();
    expect(await ada.in("hide").textContent()).toBe("Verbergen");
    expect(ada.wire.exchanges.filter(({ url }) => /^\/embed\/emb/.test(url.pathname))).toHaveLength(
      1,
    );
    expect([ada.tokens, ada.redeems.length]).toEqual([1, 1]);
  });

  it("serves a card in parts", async () => {
    const ada = await arriveAnew();
    await ada.page.evaluate(() => window.veil.prepare());
    await ada.wire.until(
      ({ url, status }) => url.searchParams.get("as") === "holder" && status === 200,
    );
    await mount(ada, {}, ["pan"]);
    await ada.page
      .locator("[data-testid=cardveil-frame-pan]")
      .contentFrame()
      .locator("[data-testid=cardveil-pan]")
      .waitFor();
    expect(
      ada.wire.exchanges.filter(({ url }) => url.searchParams.get("as") === "holder"),
    ).toHaveLength(1);
    expect([ada.tokens, ada.redeems.length]).toEqual([1, 1]);
  });
});
