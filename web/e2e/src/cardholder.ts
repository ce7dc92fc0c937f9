/** Someone with a browser of their own in front of the demo shop. */
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { CardEvents, CardOptions, CardveilFactory } from "../../sdk/src/api.ts";
import { type Browser, type Look, name as browserName, type Visit } from "./browsers/index.ts";
import type { Frame, Locator, Page } from "./browsers/page.ts";
import type { Demo } from "./demo.ts";
import type { Visits } from "./visits.ts";
import { Wire } from "./wire.ts";

/**
 * The schemes' test numbers (a sandbox accepts no others), by the last four that the page knows.
 */
export const TEST_NUMBERS: Record<string, string> = {
  "1111": "4111111111111111",
  "4444": "5555555555554444",
  "3222": "2223003122003222",
  "0005": "378282246310005",
  "1117": "6011111111111117",
  "0000": "3530111333300000",
};

declare global {
  interface Window {
    load(url: string): Promise<{ Cardveil: CardveilFactory }>;
  }
}

export interface Redeem {
  token: string;
  key: { x: string };
  fields: string[];
  attempt: string;
}

export interface Report {
  event: string;
  field?: string;
}

/**
 * Presses a button as a person does: once it has been in sight for as long as it takes to aim,
 * before which the frame takes no click for one that was meant (`STEADY_MS` of frame/src/sight.ts).
 */
export async function press(button: Locator): Promise<void> {
  await button.evaluate((element) => {
    element.scrollIntoView({ block: "nearest" });
    return new Promise<void>((done) => setTimeout(done, 700));
  });
  await button.click();
}

const LOOK: Look = { viewport: { width: 1100, height: 860 } };

export class Cardholder {
  private constructor(
    readonly demo: Demo,
    readonly wire: Wire,
    private readonly visit: Visit,
    private readonly end: () => Promise<void>,
  ) {}

  /** In a window of their own. */
  static async arrive(browser: Browser, demo: Demo, look: Partial<Look> = {}): Promise<Cardholder> {
    const wire = await Wire.open();
    const visit = await browser.visit({ ...LOOK, ...look }, `http://127.0.0.1:${wire.port}`);
    const cardholder = new Cardholder(demo, wire, visit, async () => {
      await visit.leave();
      wire.close();
    });
    await cardholder.open();
    return cardholder;
  }

  /**
   * In a window that others may have had before, for a test that does nothing to it but by a page,
   * and for which it is all the same what the clipboard and the cache hold, and what a card that
   * was left still reports.
   */
  static async arriveIn(visits: Visits, demo: Demo, look: Partial<Look> = {}): Promise<Cardholder> {
    const place = await visits.take({ ...LOOK, ...look });
    const cardholder = new Cardholder(demo, place.wire, place.visit, async () => {
      await cardholder.#clear();
      visits.giveBack({ ...LOOK, ...look }, place);
    });
    cardholder.#forget();
    await cardholder.open();
    return cardholder;
  }

  async open(url = this.demo.shop_url): Promise<void> {
    await this.page.goto(url);
    await this.by("show-card").and(this.page.locator(":enabled")).waitFor();
    // As text, because the test runner would rewrite an `import()` in a function.
    await this.page.evaluate("window.load = (url) => import(url)");
  }

  /** In front of the shop once more, as if they had just arrived; their browser knows its cache. */
  async arriveAgain(): Promise<void> {
    await this.#clear();
    this.#forget();
    await this.open();
  }

  async #clear(): Promise<void> {
    await this.page.goto("about:blank");
    // A name stays with its window, whatever page comes next.
    await this.page.evaluate(() => void (window.name = ""));
  }

  #forget(): void {
    this.wire.forget();
    this.visit.console.length = 0;
  }

  leave(): Promise<void> {
    return this.end();
  }

  get page(): Page {
    return this.visit.page;
  }

  get console(): readonly string[] {
    return this.visit.console;
  }

  /** What their browser sent to Cardveil. */
  get redeems(): Redeem[] {
    return this.wire.posted(/^\/client\/v1\/redeem$/);
  }

  get events(): Report[] {
    return this.wire.posted(/^\/client\/v1\/events$/);
  }

  /** How often the shop's backend was asked for a token. */
  get tokens(): number {
    return this.wire.posted(/^\/api\/cards\/[^/]+\/token$/).length;
  }

  /** Until Cardveil has heard of it. */
  async reported(event: string, field?: string): Promise<void> {
    const fits = (body: string) =>
      JSON.parse(body).event === event && JSON.parse(body).field === field;
    const { status } = await this.wire.until(
      ({ url, body, status }) =>
        url.pathname === "/client/v1/events" && status !== undefined && fits(body),
    );
    if (status !== 204) throw new Error(`the report of ${event} was answered with ${status}`);
  }

  by(testid: string): Locator {
    return this.page.locator(`[data-testid="${testid}"]`);
  }

  /** Something in the frame, by the end of its test id. */
  in(testid: string, nth = 0): Locator {
    return this.page
      .locator("[data-testid=cardveil-frame]")
      .nth(nth)
      .contentFrame()
      .locator(`[data-testid="cardveil-${testid}"]`);
  }

  /** What a memory dump of the frame, or of the page, would hold. */
  heap(of: "frame" | "page"): Promise<string> {
    return this.visit.heap(of === "frame" ? `${this.demo.client_url}/embed/` : undefined);
  }

  /** The frame itself, to look into it as no page can. */
  get frame(): Frame {
    return this.visit.frame(`${this.demo.client_url}/embed/`);
  }

  /** The first frame of an address that begins so. */
  frameOf(prefix: string): Frame {
    return this.visit.frame(prefix);
  }

  async show(cardNo?: string): Promise<void> {
    if (cardNo !== undefined) await this.by(`card-${cardNo}`).click();
    await this.by("show-card").click();
    await this.in("hide").waitFor();
  }

  /**
   * What is in the clipboard, as they find out: by pasting it into a field, as they would a card's
   * number. A field drops the line end that WebKit puts behind what it selected.
   */
  async paste(): Promise<string> {
    await this.page.evaluate(() => {
      const paper = document.createElement("input");
      paper.dataset["testid"] = "paper";
      document.body.append(paper);
    });
    await this.by("paper").press("Control+V");
    const pasted = await this.by("paper").inputValue();
    await this.page.evaluate(() => document.querySelector("[data-testid=paper]")?.remove());
    return pasted;
  }

  /** The whole of the frame's document, attributes and all. */
  frameText(): Promise<string> {
    return this.frame.evaluate(
      () => document.documentElement.outerHTML + document.documentElement.innerText,
    );
  }

  /**
   * Mounts a card on the shop's page as another page would, and answers what it tells, up to one of
   * `until`.
   */
  mount(options: CardOptions & { token: string }, ...until: (keyof CardEvents)[]): Promise<Told[]> {
    const { client_url: clientUrl, embed } = this.demo;
    return this.page.evaluate(
      async ({ clientUrl, embed, options, until }) => {
        const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
        const card = Cardveil({ embed }).card(options);
        const told: Told[] = [];
        const ended = new Promise<void>((done) => {
          for (const event of [
            "ready",
            "revealed",
            "hidden",
            "copied",
            "expired",
            "error",
          ] as const) {
            card.on(event, (detail) => {
              const { code, message, fields, field } = (detail ?? {}) as Omit<Told, "event">;
              told.push({ event, ...JSON.parse(JSON.stringify({ code, message, fields, field })) });
              if (until.includes(event)) done();
            });
          }
        });
        card.mount("#card");
        // Out of view a card waits.
        [...document.querySelectorAll("#card iframe")].at(-1)?.scrollIntoView({ block: "nearest" });
        await ended;
        return told;
      },
      { clientUrl, embed, options, until },
    );
  }

  /** A picture of what is on the screen, to look at. */
  async picture(name: string): Promise<void> {
    const dir = fileURLToPath(new URL(`../screenshots/${browserName}/`, import.meta.url));
    await mkdir(dir, { recursive: true });
    await this.page.screenshot({ path: `${dir}${name}.png` });
  }

  /** How much a document keeps in each of the browser's storages, and caches. */
  stored(where: Frame): Promise<number[]> {
    return where.evaluate(async () => {
      const looks = [
        () => localStorage.length,
        () => sessionStorage.length,
        () => document.cookie.length,
        // The frame keeps a key there, and nothing else: parts.e2e.ts looks into it.
        async () => (await indexedDB.databases()).filter(({ name }) => name !== "cardveil").length,
        async () => (await caches.keys()).length,
      ];
      // A browser that gives a frame of another site no storage at all refuses the question.
      return Promise.all(looks.map(async (look) => look()).map((looked) => looked.catch(() => 0)));
    });
  }

  /** A token from the shop's backend. */
  token(cardNo: string): Promise<string> {
    return this.page.evaluate(async (cardNo) => {
      const response = await fetch(`/api/cards/${cardNo}/token?api=native`, { method: "POST" });
      return (await response.json()).token;
    }, cardNo);
  }
}

export interface Told {
  event: string;
  code?: string;
  message?: string;
  fields?: string[];
  field?: string;
}
