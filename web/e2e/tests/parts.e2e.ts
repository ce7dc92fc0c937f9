/**
 * A card that the page shows in parts, and one that comes again: the real server, in a real
 * browser.
 *
 * Counts as a failure: a second redemption for the same card, a digit in the page or in a part that
 * does not show it, a token that a remount burned.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type CardOptions, type CardveilPart, type PartOptions } from "../../sdk/src/api.ts";
import { type Browser, itNeeds, itOnce, launch, name } from "../src/browsers/index.ts";
import type { Locator } from "../src/browsers/page.ts";
import { Cardholder, press } from "../src/cardholder.ts";
import { type Demo, type DemoCard, startDemo } from "../src/demo.ts";
import { Visits } from "../src/visits.ts";

let demo: Demo;
let browser: Browser;
let visits: Visits;
let present: Cardholder[] = [];
let visa: DemoCard;
const PAN = "4111111111111111";
const PARTS = ["pan", "copy-pan", "expiry", "cvv", "name", "toggle", "countdown"] as const;

declare global {
  interface Window {
    told: string[];
    unmount: (() => void)[];
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

/** Who asks nothing of their window but a page. */
async function arrive(): Promise<Cardholder> {
  const cardholder = await Cardholder.arriveIn(visits, demo);
  present.push(cardholder);
  return cardholder;
}

async function arriveAnew(): Promise<Cardholder> {
  const cardholder = await Cardholder.arrive(browser, demo);
  present.push(cardholder);
  return cardholder;
}

/**
 * Puts a card in parts into the page of the shop, as another page would; whole when no part is
 * named.
 */
async function mount(
  cardholder: Cardholder,
  options: CardOptions & { token: string },
  parts: readonly CardveilPart[],
  part: PartOptions = {},
): Promise<void> {
  const { client_url: clientUrl, embed } = cardholder.demo;
  await cardholder.page.evaluate(
    async ({ clientUrl, embed, options, parts, part }) => {
      const place = document.querySelector("#card") as HTMLElement;
      place.replaceChildren();
      const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
      const card = Cardveil({ embed }).card(options);
      window.told = [];
      window.unmount = [() => card.destroy()];
      for (const event of [
        "ready",
        "revealed",
        "hidden",
        "copied",
        "expired",
        "warning",
        "error",
      ] as const) {
        card.on(event, (detail) => window.told.push(`${event} ${JSON.stringify(detail ?? {})}`));
      }
      if (parts.length === 0) card.mount(place);
      for (const name of parts) {
        const slot = place.appendChild(document.createElement("div"));
        slot.id = `slot-${name}`;
        window.unmount.push(card.mount(slot, name, part));
      }
    },
    { clientUrl, embed, options, parts, part },
  );
}

const inPart = ({ page }: Cardholder, part: CardveilPart, testid: string): Locator =>
  page
    .locator(`[data-testid=cardveil-frame-${part}]`)
    .contentFrame()
    .locator(`[data-testid="cardveil-${testid}"]`);
const told = ({ page }: Cardholder) =>
  page.evaluate(() => window.told.map((line) => line.split(" ", 1)[0]));

describe("a card in parts", () => {
  it("has no part that could be scrolled, nor scroll bars on it", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no) }, PARTS);
    await inPart(ada, "pan", "pan").waitFor();
    for (const part of PARTS) {
      const root = ada.page
        .locator(`[data-testid=cardveil-frame-${part}]`)
        .contentFrame()
        .locator("html");
      const room = await root.evaluate((html) => {
        const { clientWidth, clientHeight } = html;
        return {
          overflow: getComputedStyle(html).overflow,
          bars: [innerWidth - clientWidth, innerHeight - clientHeight],
        };
      });
      expect([part, room]).toEqual([part, { overflow: "hidden", bars: [0, 0] }]);
    }
  });

  itNeeds("print")("hides in all of its parts before the page is printed", async () => {
    const ada = await arriveAnew();
    await mount(ada, { token: await ada.token(visa.card_no) }, PARTS);
    await inPart(ada, "pan", "pan").waitFor();
    await ada.page.pdf();
    await inPart(ada, "toggle", "show").waitFor();
    await inPart(ada, "pan", "pan").waitFor({ state: "detached" });
    expect(await told(ada)).toContain("hidden");
  });

  it("takes one redemption for all of its frames", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no) }, PARTS);
    await inPart(ada, "pan", "pan").waitFor();
    expect(await inPart(ada, "pan", "pan").textContent()).toBe(PAN);
    expect(await inPart(ada, "expiry", "expiry").textContent()).toMatch(/^\d\d\/\d\d$/);
    await inPart(ada, "name", "name").waitFor();
    await ada.reported("displayed");
    expect(ada.redeems).toHaveLength(1);
    expect(await told(ada)).toEqual(["ready", "revealed"]);
    expect(await ada.page.content()).not.toContain("4111");
  });

  it("shows the CVV at the click in its own frame, and takes it away at the next", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no) }, PARTS);
    await inPart(ada, "cvv", "show-cvv").click();
    await inPart(ada, "cvv", "cvv").waitFor();
    expect(await inPart(ada, "cvv", "cvv").textContent()).toMatch(/^\d{3}$/);
    expect(ada.redeems.map(({ fields }) => fields)).toEqual([["pan", "expiry", "name"], ["cvv"]]);
    await inPart(ada, "cvv", "hide-cvv").click();
    await inPart(ada, "cvv", "cvv").waitFor({ state: "detached" });
  });

  it("moved what follows by 21 px when the CVV's button came, and moves nothing", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no) }, PARTS);
    const bottoms = () =>
      ada.page.evaluate(() =>
        [...document.querySelectorAll("#card > div")].map((slot) =>
          Math.round(slot.getBoundingClientRect().bottom + scrollY),
        ),
      );
    const mounted = await bottoms();
    for (const [part, next] of [
      ["cvv", "show-cvv"],
      ["cvv", "hide-cvv"],
      ["toggle", "hide"],
      ["toggle", "show"],
    ] as const) {
      await inPart(ada, part, next).waitFor();
      expect([next, await bottoms()]).toEqual([next, mounted]);
      await press(inPart(ada, part, next));
    }
  });

  itOnce(
    "keeps its looks over a button of the page's, unless its embed allows parts without",
    async () => {
      const ada = await arrive();
      await mount(ada, { token: await ada.token(visa.card_no) }, ["pan", "copy-pan"], {
        transparent: true,
      });
      await inPart(ada, "pan", "pan").waitFor();
      await inPart(ada, "copy-pan", "copy-pan").waitFor();
      expect(
        await ada.page
          .locator("[data-testid=cardveil-frame-copy-pan]")
          .contentFrame()
          .locator("main")
          .getAttribute("class"),
      ).toBe("part");
      expect(await inPart(ada, "copy-pan", "copy-pan").textContent()).toContain("Copy card number");
      const warning = (await ada.page.evaluate(() => window.told)).find((line) =>
        line.startsWith("warning"),
      );
      expect(warning).toContain("transparent_refused");
    },
  );

  it("copies from a button of its own, without looks over the page's", async () => {
    const generous = await startDemo("--transparent");
    const ada = await Cardholder.arrive(browser, generous);
    present.push(ada);
    await mount(ada, { token: await ada.token(visa.card_no) }, ["pan", "copy-pan"], {
      transparent: true,
    });
    await ada.page.evaluate(() => {
      const slot = document.querySelector("#slot-copy-pan") as HTMLElement;
      slot.style.setProperty("height", "40px");
    });
    await inPart(ada, "pan", "pan").waitFor();
    const button = inPart(ada, "copy-pan", "copy-pan");
    expect(await button.getAttribute("aria-label")).toBe("Copy card number");
    await press(button);
    await ada.page.waitForFunction(() => window.told.length === 3);
    expect(await told(ada)).toEqual(["ready", "revealed", "copied"]);
    expect(await ada.paste()).toBe(PAN);
    await generous.stop();
  });

  it("hides and shows everywhere by one button", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no) }, PARTS);
    await inPart(ada, "toggle", "hide").click();
    await inPart(ada, "pan", "pan").waitFor({ state: "detached" });
    for (const part of ["pan", "expiry", "name"] as const) {
      const text = await ada.page
        .locator(`[data-testid=cardveil-frame-${part}]`)
        .contentFrame()
        .locator("main")
        .textContent();
      expect(text).not.toMatch(/4111|\d\d\/\d\d|CARDHOLDER/);
    }
    await inPart(ada, "toggle", "show").click();
    await inPart(ada, "pan", "pan").waitFor();
    expect(new Set(ada.redeems.map(({ key }) => key.x)).size).toBe(1);
  });

  it("stands on the page's own baseline, as high as its text", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no) }, ["pan", "name"], {
      appearance: { text: { fontSize: 32, lineHeight: 1.5 } },
    });
    await inPart(ada, "pan", "pan").waitFor();
    // Its height is set at once; its baseline is its frame's to tell.
    await ada.page.waitForFunction(
      () =>
        document.querySelector<HTMLElement>("[data-testid=cardveil-frame-pan]")?.style
          .verticalAlign !== "",
    );
    const style = await ada.page
      .locator("[data-testid=cardveil-frame-pan]")
      .evaluate(({ style }) => [style.height, style.verticalAlign].map(Number.parseFloat));
    const [height = 0, below = 0] = style;
    expect(height).toBeGreaterThanOrEqual(48);
    expect(below).toBeLessThan(0);
    expect(below).toBeGreaterThan(-height / 2);
  });

  it("goes on when one part is taken away, and ends with the card", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no) }, PARTS);
    await inPart(ada, "pan", "pan").waitFor();
    await ada.page.evaluate(() => window.unmount[1]?.());
    expect(await ada.page.locator("[data-testid=cardveil-frame-pan]").count()).toBe(0);
    expect(await inPart(ada, "name", "name").isVisible()).toBe(true);
    // The number spoke for all of them; now another does.
    await inPart(ada, "toggle", "hide").click();
    const live = ada.page
      .locator("[data-testid=cardveil-frame-name]")
      .contentFrame()
      .locator(".unseen");
    await live.filter({ hasText: "Card details hidden" }).waitFor({ state: "attached" });
    await ada.page.evaluate(() => window.unmount[0]?.());
    expect(await ada.page.locator("iframe").count()).toBe(0);
  });

  itOnce("has a short title of its own for every frame, in the language of the card", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no), locale: "fr" }, PARTS);
    await inPart(ada, "pan", "pan").waitFor();
    await inPart(ada, "countdown", "countdown").waitFor();
    const titles = await ada.page
      .locator("iframe[data-testid^='cardveil-frame-']")
      .evaluateAll((frames) => frames.map((frame) => frame.title));
    expect(titles).toEqual([
      "Numéro de carte",
      "Copier : numéro de carte",
      "Expiration",
      "CVV",
      "Titulaire",
      "Afficher les données",
      "Votre carte",
    ]);
  });
});

describe("a card without a CVV", () => {
  const asked = ["pan", "expiry", "cvv"] as const;
  const without = () => demo.cards.find((card) => card.last_four === "3222")?.card_no ?? "";

  itOnce.each(["light", "dark"] as const)(
    "in parts shows the rest, all at once, and names what is not there, %s (engrid#324)",
    async (theme) => {
      const ada = await arrive();
      const token = await ada.token(without());
      await mount(ada, { token, fields: [...asked], masked: false, appearance: { theme } }, asked);
      await inPart(ada, "pan", "pan").waitFor();
      expect(await inPart(ada, "expiry", "expiry").textContent()).toMatch(/^\d\d\/\d\d$/);
      await ada.page.waitForFunction(() => window.told.length === 3);
      expect(await ada.page.evaluate(() => window.told[2])).toBe(
        `warning ${JSON.stringify({ code: "field_missing", message: "CVV is not available on this card.", field: "cvv" })}`,
      );
      expect(await told(ada)).toEqual(["ready", "revealed", "warning"]);
      const cvv = ada.page
        .locator("[data-testid=cardveil-frame-cvv]")
        .contentFrame()
        .locator("[role=img]");
      expect([await cvv.textContent(), await cvv.getAttribute("aria-label")]).toEqual([
        "–",
        "CVV is not available on this card.",
      ]);
      await ada.picture(`without-cvv-parts-${theme}`);
    },
  );

  itOnce.each(["light", "dark"] as const)(
    "as a whole has no row for it, %s (braintree-web-drop-in#149)",
    async (theme) => {
      const ada = await arrive();
      await mount(
        ada,
        {
          token: await ada.token(without()),
          fields: [...asked],
          masked: false,
          appearance: { theme },
        },
        [],
      );
      const at = (testid: string) =>
        ada.page
          .locator("[data-testid=cardveil-frame]")
          .contentFrame()
          .locator(`[data-testid="cardveil-${testid}"]`);
      await at("pan").waitFor();
      expect(await at("card").textContent()).not.toContain("CVV");
      await ada.picture(`without-cvv-${theme}`);
    },
  );

  itOnce("tells why nothing is shown where nothing is left, and the token stays good", async () => {
    const ada = await arrive();
    const token = await ada.token(without());
    await mount(ada, { token, fields: ["cvv"], masked: false }, []);
    await ada.page.waitForFunction(() => window.told.some((line) => line.startsWith("error")));
    const error = await ada.page.evaluate(
      () => window.told.find((line) => line.startsWith("error")) ?? "",
    );
    expect(JSON.parse(error.slice("error ".length))).toMatchObject({
      code: "field_unavailable",
      retryable: false,
    });
    await ada.picture("without-cvv-alone");
    await mount(ada, { token, fields: ["pan"] }, ["pan"]);
    await inPart(ada, "pan", "pan").waitFor();
  });

  itOnce("on a page for Marqeta.js succeeds with the rest (engrid#324)", async () => {
    const ada = await arrive();
    const { client_url: clientUrl, embed } = demo;
    const heard = await ada.page.evaluate(
      async ({ address, token }) => {
        const place = document.querySelector("#card") as HTMLElement;
        place.replaceChildren(
          ...["pan", "exp", "cvv"].map((id) =>
            Object.assign(document.createElement("div"), { id: `mq-${id}` }),
          ),
        );
        const script = document.createElement("script");
        script.src = address;
        await new Promise((loaded) => {
          script.onload = loaded;
          document.head.append(script);
        });
        return new Promise<string>((done) =>
          window.marqeta?.bootstrap({
            clientAccessToken: token,
            component: {
              showPan: {
                cardPan: { domId: "mq-pan" },
                cardExp: { domId: "mq-exp" },
                cardCvv: { domId: "mq-cvv" },
              },
            },
            callbackEvents: {
              onSuccess: () => done("success"),
              onFailure: ({ message }) => done(message),
            },
          }),
        );
      },
      {
        address: `${clientUrl}/sdk/v1/marqeta.js?embed=${embed}`,
        token: await ada.token(without()),
      },
    );
    expect(heard).toBe("success");
    await inPart(ada, "pan", "pan").waitFor();
  });
});

describe("masked", () => {
  itOnce("means not fetched: nothing is redeemed before the click (hcb#10669)", async () => {
    const ada = await arrive();
    await mount(ada, { token: await ada.token(visa.card_no), masked: true }, []);
    await ada.in("show-pan").waitFor();
    expect(ada.redeems).toEqual([]);
    await ada.in("show-pan").click();
    await ada.in("pan").waitFor();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(ada.redeems.map(({ fields }) => fields)).toEqual([["pan"]]);
    await ada.in("hide-pan").click();
    await ada.in("pan").waitFor({ state: "detached" });
    await ada.in("show-pan").click();
    await ada.in("pan").waitFor();
    expect(new Set(ada.redeems.map(({ key }) => key.x)).size).toBe(1);
  });
});

describe("one token, one key", () => {
  it("for a card that is mounted again", async () => {
    const ada = await arrive();
    const token = await ada.token(visa.card_no);
    for (let times = 1; times <= 2; times += 1) {
      await mount(ada, { token }, []);
      await ada.in("pan").waitFor();
      await ada.page.evaluate(() => window.unmount[0]?.());
    }
    expect(new Set(ada.redeems.map(({ key }) => key.x)).size).toBe(1);
    expect(ada.redeems).toHaveLength(2);
  });

  it("for two frames with the same token at once", async () => {
    const ada = await arrive();
    const token = await ada.token(visa.card_no);
    const { client_url: clientUrl, embed } = demo;
    await ada.page.evaluate(
      async ({ clientUrl, embed, token }) => {
        const place = document.querySelector("#card") as HTMLElement;
        place.replaceChildren();
        const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
        for (let i = 0; i < 2; i += 1)
          Cardveil({ embed })
            .card({ token })
            .mount(place.appendChild(document.createElement("div")));
      },
      { clientUrl, embed, token },
    );
    await ada.in("pan", 0).waitFor();
    // Out of view a card waits.
    await ada.page
      .locator("[data-testid=cardveil-frame]")
      .nth(1)
      .evaluate((frame) => frame.scrollIntoView());
    await ada.in("pan", 1).waitFor();
    expect(new Set(ada.redeems.map(({ key }) => key.x)).size).toBe(1);
  });

  it("for a page that was loaded again", async () => {
    const ada = await arrive();
    const token = await ada.token(visa.card_no);
    await mount(ada, { token }, []);
    await ada.in("pan").waitFor();
    await ada.open();
    await mount(ada, { token }, []);
    await ada.in("pan").waitFor();
    expect(new Set(ada.redeems.map(({ key }) => key.x)).size).toBe(1);
  });

  it("and what the browser keeps of it holds no digit and no token", async () => {
    const ada = await arriveAnew();
    const token = await ada.token(visa.card_no);
    await mount(ada, { token }, []);
    await ada.in("pan").waitFor();
    const kept = await ada.frame.evaluate(async () => {
      const opening = indexedDB.open("cardveil");
      await new Promise((done) => {
        opening.onsuccess = done;
      });
      const all = opening.result.transaction("keys").objectStore("keys").getAll();
      await new Promise((done) => {
        all.onsuccess = done;
      });
      const extractable = all.result.map(({ pair }) => pair.privateKey.extractable);
      const text =
        JSON.stringify(all.result) +
        JSON.stringify({ ...localStorage, ...sessionStorage }) +
        document.cookie;
      return { extractable, text, caches: await caches.keys() };
    });
    expect(kept.extractable).toEqual([false]);
    expect(kept.caches).toEqual([]);
    expect(kept.text).not.toMatch(/4111/);
    expect(kept.text).not.toContain(token);
  });
});

describe("doctor", () => {
  it("finds nothing wrong with the shop's page", async () => {
    const ada = await arrive();
    const { client_url: clientUrl, embed } = demo;
    const report = await ada.page.evaluate(
      async ({ clientUrl, embed }) => {
        const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
        return Cardveil({ embed }).doctor();
      },
      { clientUrl, embed },
    );
    expect(report.checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(report.ok).toBe(true);
  });

  itOnce("is of the version that a page has pinned", async () => {
    const ada = await arriveAnew();
    const { client_url: clientUrl, embed } = demo;
    const { version } = (await (await fetch(`${clientUrl}/sdk/v1/manifest.json`)).json()) as {
      version: string;
    };
    await ada.page.evaluate(
      async ({ clientUrl, embed, version }) => {
        const { Cardveil } = await window.load(`${clientUrl}/sdk/${version}/cardveil.js`);
        return Cardveil({ embed }).doctor();
      },
      { clientUrl, embed, version },
    );
    const asked = ada.wire.exchanges
      .map(({ url }) => url.pathname)
      .filter((path) => path.endsWith("/doctor.js"));
    expect(asked).toEqual([`/sdk/${version}/doctor.js`]);
  });

  it("ran whatever lay at its address, and is the one that was built with the SDK or none", async () => {
    const ada = await arriveAnew();
    const { client_url: clientUrl, embed } = demo;
    ada.wire.fault(/\/doctor\.js$/, async (pass) => {
      const answer = await pass();
      const { "content-encoding": _, "content-length": __, ...headers } = answer.headers;
      const body = Buffer.from(
        "window.foreign = true; export const examine = () => ({ ok: true });",
      );
      return { ...answer, headers, body };
    });
    const found = await ada.page.evaluate(
      async ({ clientUrl, embed }) => {
        const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
        const said = await Cardveil({ embed })
          .doctor()
          .then(String, ({ name, message }) => `${name}: ${message}`);
        return { said, ran: "foreign" in window };
      },
      { clientUrl, embed },
    );
    expect(found).toEqual({
      said: expect.stringMatching(/^CardveilError: .*load the SDK from .*script-src/),
      ran: false,
    });
  });

  // Chromium alone can tell before a click.
  it.runIf(name === "chromium").each([
    ["", false],
    ['allow="clipboard-write"', true],
  ])(
    "never saw in a browser that a page in an iframe may not let copy, and names the attribute: %s",
    async (allow, copies) => {
      const ada = await arriveAnew();
      const { client_url: clientUrl, embed, shop_url: shop } = demo;
      // A page of another site, which nobody serves, around the shop's.
      ada.wire.fault(/^\/around$/, async () => ({
        status: 200,
        headers: { "content-type": "text/html" },
        body: Buffer.from(`<!doctype html><iframe src="${shop}/" ${allow}></iframe>`),
      }));
      ada.wire.fault(/^\/$/, async (pass) => {
        const answer = await pass();
        const { "content-security-policy": _, "x-frame-options": __, ...headers } = answer.headers;
        return { ...answer, headers };
      });
      await ada.page.goto(`${shop.replace("localhost", "127.0.0.1")}/around`);
      await ada.page.locator("iframe").contentFrame().locator("[data-testid=show-card]").waitFor();
      const within = ada.frameOf(shop);
      await within.evaluate("window.load = (url) => import(url)");
      const { checks } = await within.evaluate(
        async ({ clientUrl, embed }) => {
          const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
          return Cardveil({ embed }).doctor();
        },
        { clientUrl, embed },
      );
      const found = checks.find(({ check }) => check === "clipboard");
      expect(found?.ok).toBe(copies);
      if (!copies)
        expect(found?.message).toContain(
          'add allow="clipboard-write" to the iframe that this page is in',
        );
    },
  );

  itOnce("says that there is no such embed", async () => {
    const ada = await arrive();
    const { client_url: clientUrl } = demo;
    const report = await ada.page.evaluate(
      async ({ clientUrl }) => {
        const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
        return Cardveil({ embed: "emb_unknown" }).doctor();
      },
      { clientUrl },
    );
    expect(report.ok).toBe(false);
    expect(report.checks.find(({ check }) => check === "frame")?.ok).toBe(false);
  });
});
