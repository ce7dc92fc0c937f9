/**
 * What users of other products ran into, each with where it was told: docs/reference/lessons.md has
 * the table.
 */
import type { OutgoingHttpHeaders } from "node:http";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { CardveilPart } from "../../sdk/src/api.ts";
import { type Browser, itOnce, launch } from "../src/browsers/index.ts";
import { Cardholder, press } from "../src/cardholder.ts";
import { type Demo, type DemoCard, startDemo } from "../src/demo.ts";

let demo: Demo;
let browser: Browser;
let present: Cardholder[] = [];
let visa: DemoCard;
const PAN = "4111111111111111";

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

/** In front of a shop whose page has other headers. */
async function arrive(headers: OutgoingHttpHeaders = {}, url?: string): Promise<Cardholder> {
  const cardholder = await Cardholder.arrive(browser, demo);
  present.push(cardholder);
  if (Object.keys(headers).length > 0) {
    cardholder.wire.fault(/^\/$/, async (pass) => {
      const answer = await pass();
      return { ...answer, headers: { ...answer.headers, ...headers } };
    });
  }
  await cardholder.open(url);
  return cardholder;
}

/** Mounts a card and answers the first error that the page hears. */
async function error(
  cardholder: Cardholder,
  embed = demo.embed,
): Promise<{ code: string; message: string }> {
  const { client_url: clientUrl } = demo;
  return cardholder.page.evaluate(
    async ({ clientUrl, embed }) => {
      const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
      const timeouts = { frame: 5 }; // sdk/test/lost.test.ts has the time of a page that says none
      const card = Cardveil({ embed, clientUrl }).card({ token: "cvt_test_none", timeouts });
      return new Promise<{ code: string; message: string }>((resolve) => {
        card.on("error", ({ code, message }) => resolve({ code, message }));
        card.mount("#card");
      });
    },
    { clientUrl, embed },
  );
}

const OPEN = "default-src * 'unsafe-inline'";

it("a page that is isolated can hold the frame (stripe-js#634)", async () => {
  const ada = await arrive({
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
  });
  await ada.show(visa.card_no);
  expect(await ada.in("pan").textContent()).toBe(PAN);
});

it("a page in a sandbox can hold the frame (react-stripe-elements#391, react-stripe-js#424)", async () => {
  const ada = await arrive({
    "content-security-policy": "sandbox allow-scripts allow-same-origin",
  });
  await ada.show(visa.card_no);
  expect(await ada.in("pan").textContent()).toBe(PAN);
});

it("a page whose own policy forbids the frame is told the line to add (react-stripe-js#166)", async () => {
  const ada = await arrive({ "content-security-policy": `${OPEN}; frame-src 'none'` });
  const { code, message } = await error(ada);
  expect(code).toBe("csp_blocked");
  expect(message).toContain(`"frame-src ${demo.client_url}"`);
});

it("a page of an origin that is not registered is told so (react-stripe-elements#424)", async () => {
  const elsewhere = demo.shop_url.replace("localhost", "127.0.0.1");
  const ada = await arrive({ "content-security-policy": OPEN }, elsewhere);
  const { code, message } = await error(ada);
  expect(code).toBe("origin_refused");
  expect(message).toContain(new URL(elsewhere).origin);
  expect(await ada.by("cardveil-error").textContent()).toContain(
    "Your card cannot be shown right now",
  );
});

it("a frame that does not load never stays silently blank (react-stripe-elements#424)", async () => {
  const ada = await arrive({ "content-security-policy": OPEN });
  ada.wire.fault(/^\/embed\//, async () => "cut");
  expect((await error(ada)).code).toMatch(/^frame_(blocked|timeout)$/);
  expect(await ada.by("cardveil-error").textContent()).toContain(
    "Your card cannot be shown right now",
  );
});

it("a copy follows no request, so that no browser refuses it (clipboard-polyfill#125, stripe-apps#975)", async () => {
  const ada = await arrive();
  await ada.show(visa.card_no);
  ada.wire.fault(/./, async () => "cut");
  await press(ada.in("copy-pan"));
  await ada.by("seen-copied").waitFor();
  expect(await ada.paste()).toBe(PAN);
});

itOnce("digits are no telephone number (RAWeb#1444, firefox-ios#34360)", async () => {
  const ada = await arrive();
  await ada.show(visa.card_no);
  const digits = await ada
    .in("pan")
    .evaluate((pan) =>
      [...pan.querySelectorAll(":scope > span > span")].map((span) => span.textContent),
    );
  expect(digits).toEqual([...PAN]);
  const detection = await ada.frame.evaluate(() =>
    document.querySelector("meta[name=format-detection]")?.getAttribute("content"),
  );
  expect(detection).toBe("telephone=no");
});

itOnce(
  "every frame and button has one short name (braintree-web#545, paypal-js#958, recurly-js#283, stripe-js#785)",
  async () => {
    const ada = await arrive();
    const { client_url: clientUrl, embed } = demo;
    const parts: CardveilPart[] = ["pan", "copy-pan", "cvv", "toggle"];
    await ada.page.evaluate(
      async ({ clientUrl, embed, token, parts }) => {
        const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
        const card = Cardveil({ embed }).card({ token });
        const place = document.querySelector("#card") as HTMLElement;
        place.replaceChildren();
        for (const part of parts)
          card.mount(place.appendChild(document.createElement("div")), part);
      },
      { clientUrl, embed, token: await ada.token(visa.card_no), parts },
    );
    const inside = (part: CardveilPart) =>
      ada.page.locator(`[data-testid=cardveil-frame-${part}]`).contentFrame();
    await inside("pan").locator("[data-testid=cardveil-pan]").waitFor();
    await inside("toggle").locator("[data-testid=cardveil-hide]").waitFor();
    const titles = await ada.page
      .locator("iframe[data-testid^=cardveil-frame-]")
      .evaluateAll((frames) => frames.map((frame) => frame.title));
    expect(new Set(titles).size).toBe(parts.length);
    for (const title of titles) expect(title.length).toBeLessThan(30);
    for (const part of parts) {
      const names = await inside(part)
        .locator("button")
        .evaluateAll((buttons) =>
          buttons.map((button) => button.getAttribute("aria-label") ?? button.textContent ?? ""),
        );
      for (const name of names) expect(name.trim()).not.toBe("");
      expect(new Set(names).size).toBe(names.length);
    }
  },
);
