/**
 * A card whose page changes how it looks and speaks: the real server, in a real browser.
 *
 * Counts as a failure: a token, a request for a card or a record more than the card took at first.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Card, CardveilPart } from "../../sdk/src/api.ts";
import { type Browser, itOnce, launch } from "../src/browsers/index.ts";
import type { Locator } from "../src/browsers/page.ts";
import { Cardholder } from "../src/cardholder.ts";
import { type Demo, type DemoCard, startDemo } from "../src/demo.ts";

let demo: Demo;
let browser: Browser;
let present: Cardholder[] = [];
let visa: DemoCard;
const PAN = "4111111111111111";
const PARTS = [
  "pan",
  "copy-pan",
  "expiry",
  "name",
  "toggle",
  "countdown",
] as const satisfies CardveilPart[];

declare global {
  interface Window {
    card: Card;
  }
}

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
  const found = demo.cards.find(
    (card) => card.last_four === "1111" && /^active$/i.test(card.state),
  );
  if (found === undefined) throw new Error("the demo has no active card ending in 1111");
  visa = found;
});
afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});
afterEach(async () => {
  await Promise.all(present.splice(0).map((cardholder) => cardholder.leave()));
});

/** A page with a card in it: whole, in parts, or by the element. */
async function arrive(how: "whole" | "parts" | "element"): Promise<Cardholder> {
  const ada = await Cardholder.arrive(browser, demo);
  present.push(ada);
  const token = await ada.token(visa.card_no);
  await ada.page.evaluate(
    async ({ clientUrl, embed, token, how, parts }) => {
      const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
      const place = document.querySelector("#card") as HTMLElement;
      place.replaceChildren();
      if (how === "element") {
        place.innerHTML = `<cardveil-card embed="${embed}" token="${token}" locale="en"></cardveil-card>`;
        return;
      }
      window.card = Cardveil({ embed }).card({ token, locale: "en" });
      if (how === "whole") window.card.mount(place);
      else
        for (const part of parts)
          window.card.mount(place.appendChild(document.createElement("div")), part);
    },
    { clientUrl: demo.client_url, embed: demo.embed, token, how, parts: PARTS },
  );
  await (how === "parts" ? inPart(ada, "pan", "pan") : ada.in("pan")).waitFor();
  await ada.reported("displayed");
  return ada;
}

const inPart = ({ page }: Cardholder, part: CardveilPart, testid: string): Locator =>
  page
    .locator(`[data-testid=cardveil-frame-${part}]`)
    .contentFrame()
    .locator(`[data-testid="cardveil-${testid}"]`);

/** All that a card costs: what this browser sent for it, and what the server has on record. */
async function spent({ wire, redeems, events, tokens }: Cardholder): Promise<unknown[]> {
  const metrics = await (await fetch(`${demo.admin_url}/metrics`)).text();
  const released = /^cardveil_redemptions_released_total (\d+)$/m.exec(metrics)?.[1];
  expect(Number(released)).toBeGreaterThan(0);
  return [
    released,
    redeems.length,
    events.length,
    tokens,
    wire.exchanges.filter(({ url }) => url.pathname.startsWith("/embed/")).length,
  ];
}
const words = ({ wire }: Cardholder) =>
  wire.exchanges
    .map(({ url }) => url.pathname)
    .filter((path) => path.startsWith("/client/v1/words/"));
const look = (locator: Locator) =>
  locator.evaluate(() => [
    document.documentElement.lang,
    document.documentElement.dataset["theme"],
    document.documentElement.style.getPropertyValue("--radius"),
  ]);

describe("an update", () => {
  it("changes a whole card without another token or record", async () => {
    const ada = await arrive("whole");
    const before = await spent(ada);
    await ada.page.evaluate(() => {
      window.card.update({
        appearance: { theme: "dark", radius: 3 },
        locale: "de",
        hideAfter: 200,
        copy: ["pan", "name"],
        title: "Meine Karte",
      });
    });
    await ada.in("hide").filter({ hasText: "Verbergen" }).waitFor();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(await look(ada.in("pan"))).toEqual(["de", "dark", "3px"]);
    expect(await ada.in("copy-name").count()).toBe(1);
    expect(await ada.in("countdown").textContent()).toMatch(/^Noch (1\d\d|200) s sichtbar$/);
    expect(await ada.by("cardveil-frame").getAttribute("title")).toBe("Meine Karte");
    await ada.picture("update-whole");
    // Back, and what was chosen is forgotten.
    await ada.page.evaluate(() =>
      window.card.update({
        appearance: undefined,
        locale: "en",
        copy: undefined,
        title: undefined,
      }),
    );
    await ada.in("hide").filter({ hasText: "Hide" }).waitFor();
    expect((await look(ada.in("pan")))[2]).toBe("");
    expect(await ada.in("copy-name").count()).toBe(0);
    expect(words(ada)).toContain("/client/v1/words/de");
    expect(await spent(ada)).toEqual(before);
  });

  itOnce("changes each part of a card, and the one that nobody sees", async () => {
    const ada = await arrive("parts");
    const before = await spent(ada);
    await ada.page.evaluate(() =>
      window.card.update({ appearance: { theme: "dark", text: { fontSize: 21 } }, locale: "de" }),
    );
    await inPart(ada, "toggle", "hide").filter({ hasText: "Verbergen" }).waitFor();
    await inPart(ada, "countdown", "countdown").filter({ hasText: "Noch" }).waitFor();
    expect(await inPart(ada, "pan", "pan").textContent()).toBe(PAN);
    expect((await look(inPart(ada, "pan", "pan"))).slice(0, 2)).toEqual(["de", "dark"]);
    expect(
      await inPart(ada, "pan", "pan").evaluate((element) => getComputedStyle(element).fontSize),
    ).toBe("21px");
    await ada.picture("update-parts");
    expect(await spent(ada)).toEqual(before);
  });

  itOnce("comes by the element's attributes and properties too", async () => {
    const ada = await arrive("element");
    const before = await spent(ada);
    await ada.page.evaluate(() => {
      const element = document.querySelector("cardveil-card");
      element?.setAttribute("locale", "de");
      element?.setAttribute("theme", "dark");
      if (element !== null) element.appearance = { radius: 7 };
    });
    await ada.in("hide").filter({ hasText: "Verbergen" }).waitFor();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(await look(ada.in("pan"))).toEqual(["de", "dark", "7px"]);
    expect(await spent(ada)).toEqual(before);
  });

  itOnce("leaves the card in its words where another language cannot be had", async () => {
    const ada = await arrive("whole");
    const before = await spent(ada);
    ada.wire.fault(/^\/client\/v1\/words\//, async () => "cut");
    await ada.page.evaluate(() =>
      window.card.update({ locale: "de", appearance: { theme: "dark" } }),
    );
    await ada.wire.until(({ url }) => url.pathname === "/client/v1/words/de");
    expect(await ada.in("hide").textContent()).toBe("Hide");
    ada.wire.mend();
    await ada.page.evaluate(() => window.card.update({ hideAfter: 90 }));
    await ada.in("hide").filter({ hasText: "Verbergen" }).waitFor();
    expect(await spent(ada)).toEqual(before);
  });
});
