/**
 * A cardholder, the demo shop and the real server, in a real browser.
 *
 * Counts as a failure: card data anywhere but in the frame while it is shown and in the clipboard
 * after a click on Copy; a redemption that nobody clicked for; silence where something failed.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Browser, itNeeds, itOnce, launch } from "../src/browsers/index.ts";
import { Cardholder, TEST_NUMBERS, press } from "../src/cardholder.ts";
import { type Demo, type DemoCard, startDemo } from "../src/demo.ts";
import { Visits } from "../src/visits.ts";

let demo: Demo;
let browser: Browser;
let visits: Visits;
let present: Cardholder[] = [];
let visa: DemoCard;
const PAN = "4111111111111111";

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

async function shown(arriving = arrive): Promise<Cardholder> {
  const cardholder = await arriving();
  await cardholder.show(visa.card_no);
  return cardholder;
}

describe("show my card", () => {
  itOnce(
    "shows each active card's own number, and the page hears of it without a digit",
    async () => {
      const ada = await arrive();
      const active = demo.cards.filter((card) => /^active$/i.test(card.state));
      expect(active.length).toBeGreaterThan(1);
      for (const card of active) {
        await ada.show(card.card_no);
        const pan = await ada.in("pan").textContent();
        expect(pan?.slice(-4)).toBe(card.last_four);
        expect(pan).toMatch(/^\d{14,19}$/);
        if (card.last_four in TEST_NUMBERS) expect(pan).toBe(TEST_NUMBERS[card.last_four]);
        expect(await ada.in("expiry").textContent()).toMatch(/^(0[1-9]|1[0-2])\/\d\d$/);
        expect(await ada.in("name").textContent()).not.toBe("");
        await ada.by("seen-revealed").first().waitFor();
        expect(await ada.by("seen").textContent()).not.toMatch(/\d{3}/);
        await press(ada.by("close-card"));
      }
      expect(ada.redeems).toHaveLength(active.length);
      expect(ada.tokens).toBe(active.length);
    },
  );

  itOnce.each(["KeySecure", "Equals", "Native"])("works with a token by %s", async (dialect) => {
    const ada = await arrive();
    await ada.page.getByText("For developers").click();
    await ada.page.getByText(dialect, { exact: true }).click();
    await ada.show(visa.card_no);
    expect(await ada.in("pan").textContent()).toBe(PAN);
  });

  it("reports what was displayed", async () => {
    const ada = await arriveAnew();
    await ada.show(visa.card_no);
    await ada.reported("displayed");
    expect(ada.events).toEqual([expect.objectContaining({ event: "displayed" })]);
  });

  itOnce("says in words why a card that is not in use cannot be shown", async () => {
    const ada = await arrive();
    const frozen = demo.cards.find((card) => !/^(active|unactivated|pending)/i.test(card.state));
    if (frozen === undefined) throw new Error("the demo has no card out of use");
    await ada.by(`card-${frozen.card_no}`).click();
    await ada.by("show-card").click();
    await ada.by("problem").waitFor();
    expect((await ada.by("problem").textContent())?.length).toBeGreaterThan(20);
    expect(await ada.by("cardveil-frame").count()).toBe(0);
    expect(ada.redeems).toEqual([]);
  });

  it.each(["js", "css", "json"])(
    "shows it whole where another version's node does not have the frame's .%s, as in an upgrade",
    async (kind) => {
      const ada = await arriveAnew();
      ada.wire.fault(new RegExp(`^/embed/assets/.*\\.${kind}$`), async () => ({
        status: 404,
        headers: {},
        body: Buffer.of(),
      }));
      await ada.show(visa.card_no);
      expect(await ada.in("pan").textContent()).toBe(PAN);
      expect(ada.redeems).toHaveLength(1);
      const documents = ada.wire.exchanges.filter(
        ({ url }) => url.pathname === `/embed/${demo.embed}`,
      );
      // More than one of its parts may say that it did not come.
      expect([...new Set(documents.map(({ url }) => url.searchParams.has("whole")))]).toEqual([
        false,
        true,
      ]);
    },
  );

  itOnce("keeps several cards on one page apart", async () => {
    const ada = await arrive();
    const [first, second] = demo.cards.filter((card) => /^active$/i.test(card.state));
    for (const card of [first, second]) {
      const token = await ada.token(String(card?.card_no));
      await ada.mount({ token }, "revealed");
    }
    expect((await ada.in("pan", 0).textContent())?.slice(-4)).toBe(first?.last_four);
    expect((await ada.in("pan", 1).textContent())?.slice(-4)).toBe(second?.last_four);
  });

  itOnce("works as an element and as a classic script", async () => {
    const ada = await arrive();
    const token = await ada.token(visa.card_no);
    await ada.page.evaluate(
      async ({ client_url, embed, token }) => {
        const script = document.createElement("script");
        script.src = `${client_url}/sdk/v1/cardveil.iife.js`;
        document.head.append(script);
        await new Promise((done) => (script.onload = done));
        const element = document.createElement("cardveil-card");
        element.setAttribute("embed", embed);
        element.setAttribute("token", token);
        document.querySelector("#card")?.append(element);
      },
      { client_url: demo.client_url, embed: demo.embed, token },
    );
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(await ada.page.evaluate(() => typeof window.Cardveil)).toBe("function");
    await ada.page.evaluate(() => document.querySelector("cardveil-card")?.remove());
    expect(await ada.by("cardveil-frame").count()).toBe(0);
  });
});

describe("CVV", () => {
  itOnce("is not fetched before its click", async () => {
    const ada = await shown();
    expect(await ada.in("cvv").count()).toBe(0);
    expect(ada.redeems.map(({ fields }) => fields)).toEqual([["pan", "expiry", "name"]]);
    await ada.in("show-cvv").click();
    expect(await ada.in("cvv").textContent()).toMatch(/^\d{3,4}$/);
    expect(ada.redeems.map(({ fields }) => fields)).toEqual([["pan", "expiry", "name"], ["cvv"]]);
    expect(ada.redeems[1]?.key).toEqual(ada.redeems[0]?.key);
    await ada.reported("displayed", "cvv");
    expect(await ada.in("copy-cvv").count()).toBe(0);
  });
});

describe("a card without a CVV on file", () => {
  itOnce("offers none", async () => {
    const ada = await arrive();
    const without = demo.cards.find((card) => card.last_four === "3222");
    if (without === undefined) throw new Error("the demo has no card without a CVV");
    await ada.show(without.card_no);
    expect(await ada.in("pan").textContent()).toBe(TEST_NUMBERS["3222"]);
    expect(await ada.in("show-cvv").count()).toBe(0);
  });
});

describe("copy", () => {
  it("puts bare digits into the clipboard", async () => {
    const ada = await shown(arriveAnew);
    await press(ada.in("copy-pan"));
    await ada.by("seen-copied").waitFor();
    expect(await ada.in("note").textContent()).toBe("Copied");
    expect(await ada.paste()).toBe(PAN);
  });

  it("works without the clipboard API, and the digits never stand in a field for it (DFXswiss/app#1296)", async () => {
    const ada = await shown(arriveAnew);
    await ada.frame.evaluate(() => {
      Object.defineProperty(navigator, "clipboard", { value: undefined });
      new MutationObserver((changes) => {
        const added = changes.flatMap(({ addedNodes }) => [...addedNodes]);
        document.documentElement.dataset["leak"] = String(
          added.some((node) => /\d{12}/.test((node as Element).outerHTML ?? "")),
        );
      }).observe(document.documentElement, { childList: true, subtree: true });
    });
    await press(ada.in("copy-pan"));
    await ada.by("seen-copied").waitFor();
    expect(await ada.paste()).toBe(PAN);
    expect(await ada.frame.evaluate(() => document.documentElement.dataset["leak"])).toBe("false");
  });

  itOnce("says so when nothing was copied", async () => {
    const ada = await shown();
    await ada.frame.evaluate(() => {
      Object.defineProperty(navigator, "clipboard", { value: undefined });
      document.execCommand = () => false;
    });
    await press(ada.in("copy-pan"));
    expect(await ada.by("seen-warning").textContent()).toContain("copy_failed");
    expect(await ada.in("note").textContent()).toContain("by hand");
    expect(await ada.in("pan").textContent()).toBe(PAN);
  });

  it("by selection gives bare digits as well", async () => {
    const ada = await shown(arriveAnew);
    await ada.in("pan").click();
    await ada.page.keyboard.press("Control+C");
    expect(await ada.paste()).toBe(PAN);
  });
});

describe("hide", () => {
  async function expectPurged(ada: Cardholder): Promise<void> {
    await ada.frame.locator("[data-testid=cardveil-card][data-state=hidden]").waitFor();
    const text = await ada.frameText();
    for (const secret of [PAN, "4 1 1 1", "411111"]) expect(text).not.toContain(secret);
    for (const field of ["pan", "expiry", "name", "cvv"])
      expect(await ada.in(field).count()).toBe(0);
  }

  it("clears the document", async () => {
    const ada = await shown();
    await ada.in("show-cvv").click();
    await ada.in("cvv").waitFor();
    expect(await ada.frameText()).toContain("4 1 1 1");
    await ada.in("hide").click();
    await expectPurged(ada);
    await ada.by("seen-hidden").waitFor();
  });

  it("and show again asks the same key's redemption, without a token", async () => {
    const ada = await shown();
    await ada.in("hide").click();
    await ada.in("show").click();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(ada.redeems[1]?.key).toEqual(ada.redeems[0]?.key);
    expect(ada.tokens).toBe(1);
  });

  it("happens by itself when the countdown ends", async () => {
    const ada = await arriveAnew();
    const token = await ada.token(visa.card_no);
    const told = await ada.mount({ token, hideAfter: 5 }, "hidden");
    expect(told.map(({ event }) => event)).toEqual(["ready", "revealed", "expired", "hidden"]);
    await expectPurged(ada);
    await ada.reported("expired");
    expect(ada.events.map(({ event }) => event)).toEqual(["displayed", "expired"]);
  });

  it.each(["visibilitychange", "freeze"])("happens when the tab is hidden (%s)", async (event) => {
    const ada = await shown();
    // A headless tab is never hidden, so the frame is told as the browser would tell it.
    await ada.frame.evaluate((event) => {
      Object.defineProperty(document, "visibilityState", { value: "hidden" });
      document.dispatchEvent(new Event(event));
    }, event);
    await expectPurged(ada);
  });

  it("happens when the browser says that it will print", async () => {
    const ada = await shown();
    await ada.frame.evaluate(() => void window.dispatchEvent(new Event("beforeprint")));
    await expectPurged(ada);
  });

  itNeeds("print")("happens before the page is printed", async () => {
    const ada = await shown();
    await ada.page.pdf();
    await expectPurged(ada);
  });

  it("happens when the browser says that it will cache the page, with token and key", async () => {
    const ada = await shown();
    // Not every browser caches a page that is driven, so the frame is told as the browser would
    // tell it.
    await ada.frame.evaluate(
      () => void window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })),
    );
    await expectPurged(ada);
    await ada.in("show").click();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(ada.tokens).toBe(2);
    expect(ada.redeems[1]?.key).not.toEqual(ada.redeems[0]?.key);
  });

  it("happens when the page is left, and Back does not undo it (Expensify#75148)", async () => {
    const ada = await shown();
    await ada.page.goto(`${demo.client_url}/sdk/v1/cardveil.js`);
    await ada.page.goBack();
    // Loaded again, or as it was, with the frame's digits gone.
    await ada.page
      .locator("[data-testid=show-card]:enabled:not([hidden]), [data-testid=cardveil-frame]")
      .waitFor();
    if ((await ada.by("cardveil-frame").count()) > 0) await expectPurged(ada);
    expect(ada.redeems).toHaveLength(1);
  });

  it("leaves a card that Back brings again, when it is asked for, and by another token", async () => {
    const ada = await shown();
    await ada.page.goto(`${demo.client_url}/sdk/v1/cardveil.js`);
    await ada.page.goBack();
    const again = ada.page.locator("[data-testid=show-card]:enabled:not([hidden])");
    await again.or(ada.by("cardveil-frame")).first().waitFor();
    // Loaded again, it has the shop's button; as it was, the frame's.
    if ((await ada.by("cardveil-frame").count()) > 0) await press(ada.in("show"));
    else await again.click();
    await ada.in("hide").waitFor();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(ada.tokens).toBe(2);
    expect(ada.redeems[1]?.key).not.toEqual(ada.redeems[0]?.key);
  });

  it("leaves a page that was written with its token, which Back shows again to the same key alone, or says what to do", async () => {
    const ada = await arrive();
    const token = await ada.token(demo.cards[0]?.card_no ?? "");
    const { client_url: clientUrl, embed } = demo;
    ada.wire.fault(/^\/written$/, async () => ({
      status: 200,
      headers: { "content-type": "text/html", "cache-control": "no-cache" },
      body: Buffer.from(`<!doctype html><title>A page</title><main id="card"></main><script type="module">
        const { Cardveil } = await import("${clientUrl}/sdk/v1/cardveil.js");
        Cardveil({ embed: "${embed}" }).card({ token: "${token}" }).mount("#card");
      </script>`),
    }));
    await ada.page.goto(`${demo.shop_url}/written`);
    await ada.in("hide").waitFor();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    await ada.page.goto(`${demo.client_url}/sdk/v1/cardveil.js`);
    await ada.page.goBack();
    await ada.in("hide").or(ada.in("show")).or(ada.in("error")).first().waitFor();
    if ((await ada.in("show").count()) > 0) await press(ada.in("show"));
    await ada.in("hide").or(ada.in("error")).first().waitFor();
    if ((await ada.in("error").count()) > 0)
      expect(await ada.in("error").textContent()).toContain("open your card again");
    else {
      expect(await ada.in("pan").textContent()).toBe(PAN);
      // Nothing was kept: the server was asked, and answered the key that it knows.
      expect(ada.redeems).toHaveLength(2);
      expect(ada.redeems[1]?.key).toEqual(ada.redeems[0]?.key);
    }
  });

  itNeeds("back/forward cache")(
    "happens on the way into the back/forward cache, with token and key",
    async () => {
      const ada = await shown();
      await ada.page.goto(`${demo.client_url}/sdk/v1/cardveil.js`);
      await ada.page.goBack();
      await expectPurged(ada);
      await ada.in("show").click();
      expect(await ada.in("pan").textContent()).toBe(PAN);
      expect(ada.tokens).toBe(2);
      expect(ada.redeems[1]?.key).not.toEqual(ada.redeems[0]?.key);
    },
  );

  it("happens with destroy", async () => {
    const ada = await shown(arriveAnew);
    await press(ada.by("close-card"));
    await ada.reported("hidden");
    expect(await ada.by("cardveil-frame").count()).toBe(0);
  });
});

describe("nobody else", () => {
  itOnce("can use a token that was used", async () => {
    const ada = await shown(arriveAnew);
    const eve = await arrive();
    const told = await eve.mount({ token: String(ada.redeems[0]?.token) }, "revealed", "error");
    expect(told.at(-1)).toMatchObject({ event: "error", code: "token_refused" });
    expect(await eve.in("error").textContent()).toContain(
      "has expired or was already used. Go back and open your card again.",
    );
    expect(await eve.in("pan").count()).toBe(0);
    expect(await ada.in("pan").textContent()).toBe(PAN);
  });

  itOnce("can tell a token that never was from one that was used", async () => {
    const eve = await arrive();
    const invented = "cvt_test_000000000000000000000000000000000000000000000000000000";
    const told = await eve.mount({ token: invented }, "revealed", "error");
    expect(told.at(-1)).toMatchObject({ event: "error", code: "token_refused" });
  });

  it("sees into the frame, the page's own scripts included", async () => {
    const ada = await shown();
    const answers = await ada.page.evaluate(() => {
      const frame = document.querySelector("iframe") as HTMLIFrameElement;
      const attempt = (look: () => unknown) => {
        try {
          return String(look());
        } catch (error) {
          return (error as Error).name;
        }
      };
      return [
        attempt(() => frame.contentDocument),
        attempt(() => frame.contentWindow?.document),
        attempt(() => (frame.contentWindow as Window & { Cardveil?: unknown }).Cardveil),
        attempt(() => frame.contentWindow?.localStorage),
        document.documentElement.outerHTML.includes("4111111111111111").toString(),
      ];
    });
    expect(answers).toEqual(["null", "SecurityError", "SecurityError", "SecurityError", "false"]);
  });

  it("can frame it from a page that is not registered", async () => {
    const eve = await arrive();
    await eve.open(demo.shop_url.replace("localhost", "127.0.0.1"));
    const told = await eve.mount({ token: "cvt_test_1" }, "ready", "error");
    expect(told).toEqual([expect.objectContaining({ event: "error", code: "frame_blocked" })]);
    expect(await eve.by("cardveil-error").textContent()).toContain(
      "Your card cannot be shown right now",
    );
    expect(eve.redeems).toEqual([]);
  });

  it("finds card data outside the frame: page, messages, requests, storage, console (peanut-ui#2088)", async () => {
    const ada = await arriveAnew();
    await ada.page.evaluate(() => {
      const heard: string[] = [];
      Object.assign(window, { heard });
      addEventListener("message", ({ data }) => heard.push(JSON.stringify(data)), true);
      const onmessage = Object.getOwnPropertyDescriptor(MessagePort.prototype, "onmessage");
      Object.defineProperty(MessagePort.prototype, "onmessage", {
        set(this: MessagePort, handler: (event: MessageEvent) => void) {
          onmessage?.set?.call(this, (event: MessageEvent) => {
            heard.push(JSON.stringify(event.data));
            handler(event);
          });
        },
      });
    });
    await ada.show(visa.card_no);
    await ada.in("show-cvv").click();
    await ada.in("cvv").waitFor();
    await ada.in("hide").click();
    await ada.by("seen-hidden").waitFor();

    const heard = await ada.page.evaluate(() => (window as unknown as { heard: string[] }).heard);
    expect(heard.map((text) => JSON.parse(text).type)).toEqual(
      expect.arrayContaining(["hello", "ready", "needToken", "revealed", "hidden", "size"]),
    );
    const traffic = ada.wire.exchanges.map((exchange) => JSON.stringify(exchange));
    expect(traffic.length).toBeGreaterThan(10);
    for (const text of [...heard, ...traffic, ...ada.console, await ada.page.content()]) {
      expect(text).not.toContain(PAN);
      expect(text).not.toContain("4 1 1 1");
    }
    // Nothing but heights is a number, so there is no place for a count of digits.
    for (const text of heard) expect(text).toMatch(/"height"|"hello"|^[^0-9]*$|"nonce"/);
    for (const frame of [ada.page, ada.frame]) {
      expect(await ada.stored(frame)).toEqual([0, 0, 0, 0, 0]);
    }
    for (const { headers } of ada.wire.exchanges) expect(headers).not.toHaveProperty("set-cookie");
    for (const url of [ada.page.url(), ada.frame.url()]) expect(url).not.toContain("cvt_");
    // Each browser knows other features, and warns of those in the frame's policy that it does not
    // know.
    expect(ada.console).toEqual([]);
  });
});

describe("redeems", () => {
  itOnce(
    "once for a card that is mounted and destroyed at once, as in StrictMode: for the one that stays",
    async () => {
      const ada = await arrive();
      const token = await ada.token(visa.card_no);
      const calls = await ada.page.evaluate(
        async ({ client_url, embed, token }) => {
          const { Cardveil } = await window.load(`${client_url}/sdk/v1/cardveil.js`);
          let calls = 0;
          const make = () => Cardveil({ embed }).card({ token: async () => ((calls += 1), token) });
          const first = make();
          first.mount("#card");
          first.destroy();
          const second = make();
          second.mount("#card");
          second.on("ready", () => second.destroy());
          await new Promise((done) => second.on("ready", done));
          const third = make();
          third.mount("#card");
          await new Promise((done) => third.on("revealed", done));
          return calls;
        },
        { client_url: demo.client_url, embed: demo.embed, token },
      );
      expect(calls).toBe(1);
      expect(ada.redeems).toHaveLength(1);
      expect(await ada.by("cardveil-frame").count()).toBe(1);
    },
  );

  it("again with the same key and attempt when the answer got lost after the claim", async () => {
    const ada = await arrive();
    const lost: number[] = [];
    ada.wire.fault(/^\/client\/v1\/redeem$/, async (pass) => {
      const answer = await pass();
      if (lost.length === 2) return answer;
      lost.push(answer.status);
      return "cut";
    });
    await ada.show(visa.card_no);
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(lost).toEqual([200, 200]);
    expect(ada.redeems).toHaveLength(3);
    expect(new Set(ada.redeems.map((redeem) => JSON.stringify(redeem))).size).toBe(1);
  });

  it("tells of a server that does not answer, and recovers at the cardholder's click", async () => {
    const ada = await arrive();
    ada.wire.fault(/^\/client\/v1\/redeem$/, async () => "cut");
    await ada.by(`card-${visa.card_no}`).click();
    await ada.by("show-card").click();
    await ada.in("error").waitFor();
    expect(await ada.by("seen-error").textContent()).toContain("unavailable");
    ada.wire.mend();
    await ada.in("retry").click();
    expect(await ada.in("pan").textContent()).toBe(PAN);
    expect(ada.tokens).toBe(1);
  });

  itOnce("not an answer that was changed on the way", async () => {
    const ada = await arrive();
    ada.wire.fault(/^\/client\/v1\/redeem$/, async (pass) => {
      const answer = await pass();
      const body = JSON.parse(answer.body.toString());
      const header = JSON.parse(Buffer.from(body.header, "base64url").toString());
      header.fields = ["pan", "expiry", "name", "cvv"];
      body.header = Buffer.from(JSON.stringify(header)).toString("base64url");
      return { ...answer, body: Buffer.from(JSON.stringify(body)) };
    });
    await ada.by(`card-${visa.card_no}`).click();
    await ada.by("show-card").click();
    await ada.in("error").waitFor();
    expect(await ada.by("seen-error").textContent()).toContain("header_mismatch");
    expect(await ada.frameText()).not.toContain("4 1 1 1");
  });
});
