/**
 * The page of an app's WebView. In WebKit the app is that of examples/webview, with WebKit's own
 * bridge; in Chromium and Firefox an object in the page plays Android's and Flutter's.
 *
 * Counts as a failure: a digit on the bridge; digits that are there without the app, or after it
 * hid them.
 */
import { mkdir } from "node:fs/promises";
import type { Server } from "node:http";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, as its readers get it
import { serve } from "../../../examples/server.mjs";
import { complaints } from "../src/axe.ts";
import { type App, type Browser, launch, name, type Visit } from "../src/browsers/index.ts";
import { press } from "../src/cardholder.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { Wire } from "../src/wire.ts";

const PAN = "4111111111111111";
const LOOK = { viewport: { width: 375, height: 420 } };
/** The demo's embed without origins. */
const APP = "emb_demo_app";

let demo: Demo;
let server: Server;
let browser: Browser;
let wire: Wire;
let visit: Visit | undefined;
let tokens: string;

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
  const {
    merchant_url: merchantUrl,
    client_url: clientUrl,
    equals_api_key: apiKey,
    embed,
    cards,
  } = demo;
  const cardNo = cards.find(({ last_four }) => last_four === "1111")?.card_no;
  server = await serve({ port: 0, merchantUrl, clientUrl, apiKey, embed, cardNo });
  tokens = `http://127.0.0.1:${(server.address() as { port: number }).port}/token`;
});

afterAll(async () => {
  server?.close();
  server?.closeAllConnections();
  await browser?.close();
  await demo?.stop();
});

beforeEach(async () => {
  wire = await Wire.open();
});

afterEach(async () => {
  await visit?.leave();
  wire?.close();
});

const page = (embed: string, query = "") => `${demo.client_url}/webview/${embed}${query}`;
async function open(query = ""): Promise<App> {
  const app = await browser.app(LOOK, `http://127.0.0.1:${wire.port}`, page(APP, query), tokens);
  visit = app;
  return app;
}
const at = ({ page }: Visit, testid: string) => page.locator(`[data-testid="cardveil-${testid}"]`);
const digits = async (app: App) => {
  await at(app, "pan").waitFor();
  return ((await at(app, "pan").textContent()) ?? "").replace(/\D/g, "");
};
const types = ({ heard }: App) => heard.map((line) => (JSON.parse(line) as { type: string }).type);
const heard = (app: App, type: string) =>
  expect.poll(() => types(app), { timeout: 10_000 }).toContain(type);

describe("an app", () => {
  // stripe/stripe-react-native#1350, flutter-stripe/flutter_stripe#1347
  it("stripe-react-native#1350, flutter_stripe#1347: shows a card in a WebView, with one token", async () => {
    const app = await open();
    expect(await digits(app)).toBe(PAN);
    await heard(app, "revealed");
    expect(wire.posted(/^\/client\/v1\/redeem$/).length).toBe(1);
    const dir = fileURLToPath(new URL(`../screenshots/${name}`, import.meta.url));
    await mkdir(dir, { recursive: true });
    await app.page.screenshot({ path: `${dir}/webview.png` });
    await app.say({ type: "hide" });
    await at(app, "pan").waitFor({ state: "detached" });
    await heard(app, "hidden");
    await app.say({ type: "reveal" });
    expect(await digits(app)).toBe(PAN);
  });

  it("hears not a digit, whatever the cardholder does", async () => {
    const app = await open();
    await digits(app);
    await at(app, "show-cvv").click();
    await at(app, "cvv").waitFor();
    await at(app, "hide").click();
    await at(app, "pan").waitFor({ state: "detached" });
    await heard(app, "hidden");
    expect(app.heard.length).toBeGreaterThan(4);
    for (const line of app.heard)
      expect(line.replace(/"(cardveil|height)": ?\d+/, "")).not.toMatch(/\d/);
  });

  // microsoft/vscode#182642: no frame's permissions stand in the way of a page of its own
  it("vscode#182642: lets the cardholder copy in a WebView, and hears whether it worked", async () => {
    const app = await open();
    await digits(app);
    await press(at(app, "copy-pan"));
    await heard(app, "copied");
    expect(types(app)).not.toContain("warning");
  });

  it("has a page without barriers, in its language", async () => {
    const app = await open("?lang=de");
    await digits(app);
    expect(await app.page.evaluate(() => document.documentElement.lang)).toBe("de");
    expect(await complaints(app.page)).toEqual([]);
  });

  it("takes the digits away when the app goes to the background", async () => {
    const app = await open();
    await digits(app);
    await app.page.evaluate(() => {
      Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await at(app, "pan").waitFor({ state: "detached" });
    await heard(app, "hidden");
  });
});

describe("without an app", () => {
  it("a browser that opens the page sees no card", async () => {
    visit = await browser.visit(LOOK, `http://127.0.0.1:${wire.port}`);
    await visit.page.goto(page(APP));
    await at(visit, "error").waitFor();
    expect(await at(visit, "error").textContent()).toContain("This page may not show your card");
  });

  it("a web page's embed has no such page, and no page may frame an app's", async () => {
    visit = await browser.visit(LOOK, `http://127.0.0.1:${wire.port}`);
    await visit.page.goto(page(demo.embed));
    expect(await visit.page.content()).toContain("registered without origins");
    const inAFrame = await fetch(page(APP), { headers: { "sec-fetch-dest": "iframe" } });
    expect([inAFrame.status, inAFrame.headers.get("content-security-policy")]).toEqual([
      403,
      expect.stringContaining("frame-ancestors 'none'"),
    ]);
  });
});
