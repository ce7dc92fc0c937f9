/** Someone with a browser of their own in front of the demo shop. */
import type { Browser, BrowserContext, BrowserContextOptions, Frame, Locator, Page, Request } from "playwright-core";
import type { CardEvents, CardOptions, CardveilFactory } from "../../sdk/src/api.ts";
import type { Demo } from "./demo.ts";

/** The schemes' test numbers (DESIGN 6: sandbox accepts no others), by the last four that the page knows. */
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

export class Cardholder {
  /** What their browser sent to Cardveil. */
  readonly redeems: Redeem[] = [];
  readonly events: { event: string; field?: string }[] = [];
  /** How often the shop's backend was asked for a token. */
  tokens = 0;
  readonly console: string[] = [];

  private constructor(
    readonly demo: Demo,
    readonly context: BrowserContext,
    readonly page: Page,
  ) {
    context.on("request", (request) => this.#note(request));
    page.on("console", (message) => this.console.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => this.console.push(`pageerror: ${error.message}`));
  }

  static async arrive(browser: Browser, demo: Demo, options: BrowserContextOptions = {}): Promise<Cardholder> {
    const context = await browser.newContext({ viewport: { width: 1100, height: 860 }, ...options });
    // Shorter than a test's, so that the step that hangs is named.
    context.setDefaultTimeout(15_000);
    // As text, because the test runner would rewrite an `import()` in a function.
    await context.addInitScript({ content: "window.load = (url) => import(url)" });
    const cardholder = new Cardholder(demo, context, await context.newPage());
    await cardholder.open();
    return cardholder;
  }

  async open(url = this.demo.shop_url): Promise<void> {
    await this.page.goto(url);
    await this.by("show-card").and(this.page.locator(":enabled")).waitFor();
  }

  leave(): Promise<void> {
    return this.context.close();
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

  /** The frame itself, to look into it as no page can. */
  get frame(): Frame {
    const frame = this.page.frames().find((frame) => frame.url().startsWith(`${this.demo.client_url}/embed/`));
    if (frame === undefined) throw new Error("there is no frame");
    return frame;
  }

  async show(cardNo?: string): Promise<void> {
    if (cardNo !== undefined) await this.by(`card-${cardNo}`).click();
    await this.by("show-card").click();
    await this.in("hide").waitFor();
  }

  /** The whole of the frame's document, attributes and all. */
  frameText(): Promise<string> {
    return this.frame.evaluate(() => document.documentElement.outerHTML + document.documentElement.innerText);
  }

  /** Mounts a card on the shop's page as another page would, and answers what it tells, up to one of `until`. */
  mount(options: CardOptions & { token: string }, ...until: (keyof CardEvents)[]): Promise<Told[]> {
    const { client_url: clientUrl, embed } = this.demo;
    return this.page.evaluate(
      async ({ clientUrl, embed, options, until }) => {
        const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
        const card = Cardveil({ embed }).card(options);
        const told: Told[] = [];
        const ended = new Promise<void>((done) => {
          for (const event of ["ready", "revealed", "hidden", "copied", "expired", "error"] as const) {
            card.on(event, (detail) => {
              const { code, message, fields, field } = (detail ?? {}) as Omit<Told, "event">;
              told.push({ event, ...JSON.parse(JSON.stringify({ code, message, fields, field })) });
              if (until.includes(event)) done();
            });
          }
        });
        card.mount("#card");
        await ended;
        return told;
      },
      { clientUrl, embed, options, until },
    );
  }

  /** A token from the shop's backend. */
  token(cardNo: string): Promise<string> {
    return this.page.evaluate(async (cardNo) => {
      const response = await fetch(`/api/cards/${cardNo}/token?api=native`, { method: "POST" });
      return (await response.json()).token;
    }, cardNo);
  }

  #note(request: Request): void {
    const { pathname } = new URL(request.url());
    if (request.method() !== "POST") return;
    if (pathname === "/client/v1/redeem") this.redeems.push(request.postDataJSON());
    if (pathname === "/client/v1/events") this.events.push(request.postDataJSON());
    if (/^\/api\/cards\/[^/]+\/token$/.test(pathname)) this.tokens += 1;
  }
}

export interface Told {
  event: string;
  code?: string;
  message?: string;
  fields?: string[];
  field?: string;
}
