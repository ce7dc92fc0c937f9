/**
 * Cards that nobody can see: the real server, in a real browser. Chromium can tell, the others
 * cannot.
 *
 * Counts as a failure: a token asked for or redeemed, a number in the clipboard, or a display on
 * record, while the cardholder sees nothing of it; a card that stays away once it can be seen; a
 * page that is not told why.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Browser, itNeeds, launch, name as browserName } from "../src/browsers/index.ts";
import { Cardholder } from "../src/cardholder.ts";
import { type Demo, type DemoCard, startDemo } from "../src/demo.ts";

let demo: Demo;
let browser: Browser;
let present: Cardholder[] = [];
let visa: DemoCard;
const PAN = "4111111111111111";
const PICTURES = new URL("../screenshots/", import.meta.url).pathname;

declare global {
  interface Window {
    life: string[];
    asked: number;
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

/** A page with a card in it, and a rule of the page's about where that is. */
async function hidden(
  rule: string,
  more = "",
  copy: boolean | string[] = ["pan"],
): Promise<Cardholder> {
  const ada = await Cardholder.arrive(browser, demo);
  present.push(ada);
  const token = await ada.token(visa.card_no);
  await ada.page.evaluate(
    async ({ client_url, embed, token, rule, more, copy }) => {
      // By scripts: the shop's policy allows no style in its markup.
      document.body.innerHTML = `<div id="around"><div id="here"></div></div>${more}`;
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(
        "#here { width: 424px } #over { position: fixed; inset: 0; background: white; color: black }" +
          rule,
      );
      document.adoptedStyleSheets.push(sheet);
      window.life = [];
      window.asked = 0;
      const { Cardveil } = await window.load(`${client_url}/sdk/v1/cardveil.js`);
      const card = Cardveil({ embed }).card({
        token: () => {
          window.asked += 1;
          return token;
        },
        copy: copy as never,
      });
      for (const event of ["ready", "revealed", "copied", "warning", "error"] as const) {
        card.on(event, (detail) => window.life.push(`${event} ${JSON.stringify(detail ?? {})}`));
      }
      card.mount("#here");
    },
    { client_url: demo.client_url, embed: demo.embed, token, rule, more, copy },
  );
  return ada;
}

const told = (ada: Cardholder, event: string) =>
  ada.page.evaluate((event) => window.life.find((line) => line.startsWith(event)) ?? "", event);
const until = (ada: Cardholder, event: string) =>
  ada.page.evaluate(
    (event) =>
      new Promise<void>((done) => {
        const look = () =>
          window.life.some((line) => line.startsWith(event)) ? done() : void setTimeout(look, 20);
        look();
      }),
    event,
  );
const asked = (ada: Cardholder) => ada.page.evaluate(() => window.asked);
const unhide = (ada: Cardholder) =>
  ada.page.evaluate(() => {
    document.adoptedStyleSheets.at(-1)?.replaceSync("#here { width: 424px }");
    document.querySelector("#over")?.remove();
    scrollTo(0, 0);
  });

const OVER = '<div id="over">Special offer</div>';
const HIDDEN: [what: string, rule: string, more: string, cause: string, named: RegExp][] = [
  ["at opacity 0", "iframe { opacity: 0 }", "", "effect", /<iframe.* has opacity: 0/],
  [
    "in an element at opacity 0.01",
    "#around { opacity: 0.01 }",
    "",
    "effect",
    /<div id="around"> has opacity: 0.01/,
  ],
  ["under a filter", "#here { filter: brightness(0) }", "", "effect", /filter/],
  ["turned", "iframe { transform: rotate(20deg) }", "", "effect", /transform/],
  ["made small", "iframe { transform: scale(0.1) }", "", "effect", /transform/],
  ["under an element of the page's", "", OVER, "covered", /<div id="over"> lies over it/],
  ["under one that lets clicks through", "#over { pointer-events: none }", OVER, "covered", /./],
  ["of one pixel", "iframe { width: 1px !important }", "", "too_small", /1 by/],
  ["not rendered", "iframe { visibility: hidden }", "", "not_rendered", /not rendered/],
];

describe("a card", () => {
  for (const [what, rule, more, cause, named] of HIDDEN) {
    itNeeds("visibility")(
      `asks for nothing ${what}, tells the page why, and comes once it is seen`,
      async () => {
        const ada = await hidden(rule, more);
        await until(ada, "warning");
        const warning = JSON.parse((await told(ada, "warning")).replace("warning ", ""));
        expect(warning).toMatchObject({ code: "frame_covered", cause });
        expect(warning.message).toMatch(named);
        expect(await asked(ada)).toBe(0);
        expect([ada.redeems, ada.events]).toEqual([[], []]);
        await unhide(ada);
        await ada.in("pan").waitFor();
        expect(await ada.in("pan").textContent()).toBe(PAN);
        await ada.reported("displayed");
        expect(ada.events).toEqual([
          expect.objectContaining({ event: "displayed", visible: true }),
        ]);
        expect(await asked(ada)).toBe(1);
      },
    );
  }

  itNeeds("visibility")(
    "out of view asks for nothing, and the page hears nothing of it",
    async () => {
      const ada = await hidden("#around { margin-top: 4000px }");
      await until(ada, "ready");
      // Longer than the grace.
      await ada.page.evaluate(() => new Promise((done) => setTimeout(done, 2500)));
      expect(await ada.page.evaluate(() => [window.asked, window.life.length])).toEqual([0, 1]);
      await ada.page.evaluate(() => scrollTo(0, 4000));
      await ada.in("pan").waitFor();
      await ada.reported("displayed");
    },
  );

  itNeeds("visibility")("that is faded in comes without a word", async () => {
    const ada = await hidden(
      "@keyframes in { from { opacity: 0; transform: translateY(20px) } } #around { animation: in 600ms }",
    );
    await ada.in("pan").waitFor();
    await ada.reported("displayed");
    expect(await told(ada, "warning")).toBe("");
  });

  itNeeds("visibility")(
    "that is covered while it is shown gives no field and no copy",
    async () => {
      const ada = await hidden("#over { pointer-events: none }");
      await ada.in("pan").waitFor();
      await ada.reported("displayed");
      // Clicks go through what nobody sees through.
      await ada.page.evaluate((over) => document.body.insertAdjacentHTML("beforeend", over), OVER);
      await ada.page.evaluate(() => new Promise((done) => setTimeout(done, 500)));
      await ada.in("show-cvv").click();
      await ada.in("copy-pan").click();
      await until(ada, "warning");
      expect(ada.redeems).toHaveLength(1);
      expect(await told(ada, "copied")).toBe("");
      await unhide(ada);
      await ada.in("cvv").waitFor();
      expect(ada.redeems).toHaveLength(2);
    },
  );

  itNeeds("visibility")("tells the cardholder, too, and is there afterwards", async () => {
    const ada = await hidden(
      "#over { inset: auto 0 auto 0 !important; top: 40px !important; height: 60px }",
      OVER,
    );
    await until(ada, "warning");
    await ada.in("note").filter({ hasText: "covers your card" }).waitFor();
    await ada.page.screenshot({ path: `${PICTURES}${browserName}-covered.png` });
    await unhide(ada);
    await ada.in("pan").waitFor();
    await ada.page.screenshot({ path: `${PICTURES}${browserName}-uncovered.png` });
  });

  it("that its browser cannot look at is shown, and the record does not say that it was seen", async () => {
    const ada = await hidden("iframe { opacity: 0.99 }");
    if (browserName === "chromium") return void (await until(ada, "warning"));
    await ada.in("pan").waitFor();
    await ada.reported("displayed");
    expect(ada.events[0]).not.toHaveProperty("visible");
  });
});
