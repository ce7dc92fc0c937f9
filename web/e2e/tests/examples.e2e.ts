/**
 * The examples, as their readers would run them: the demo, the examples' own server, and a browser.
 *
 * Counts as a failure: a token too many; digits that are not there, or are there after they were
 * hidden.
 */
import { once } from "node:events";
import type { Server } from "node:http";
import { createServer } from "node:net";
import { cp, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { build as viteBuild } from "vite";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, as its readers get it
import { serve } from "../../../examples/server.mjs";
import { type Browser, itOnce, launch, name, type Visit } from "../src/browsers/index.ts";
import type { Scope } from "../src/browsers/page.ts";
import { press } from "../src/cardholder.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { Wire } from "../src/wire.ts";

const PAN = "4111 1111 1111 1111";
const root = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const alias = {
  "@cardveil/react": root("web/react/src/index.tsx"),
  "@cardveil/js/pure": root("web/sdk/src/pure.ts"),
};

let demo: Demo;
let server: Server;
let browser: Browser;
let origin: string;
let wire: Wire;
let visit: Visit;

beforeAll(async () => {
  const port = await freePort();
  origin = `http://localhost:${port}`;
  [demo, browser] = await Promise.all([
    startDemo("--transparent", "--allow-origin", origin),
    launch(),
  ]);
  const {
    merchant_url: merchantUrl,
    client_url: clientUrl,
    equals_api_key: apiKey,
    embed,
    cards,
  } = demo;
  const cardNo = cards.find(({ last_four }) => last_four === "1111")?.card_no;
  server = await serve({ port, merchantUrl, clientUrl, apiKey, embed, cardNo });
  await Promise.all([buildReact(), buildByVite("vue"), buildByVite("svelte")]);
});

afterAll(async () => {
  await visit?.leave();
  wire?.close();
  server?.close();
  server?.closeAllConnections();
  await browser?.close();
  await demo?.stop();
});

// One window: nothing is done to it but by a page.
beforeAll(async () => {
  wire = await Wire.open();
  visit = await browser.visit(
    { viewport: { width: 800, height: 1000 } },
    `http://127.0.0.1:${wire.port}`,
  );
});
afterEach(async () => {
  await visit.page.goto("about:blank");
  visit.console.length = 0;
  wire.forget();
});

const buildReact = () =>
  build({
    entryPoints: [root("examples/react/main.jsx")],
    outfile: root("examples/react/dist/main.js"),
    bundle: true,
    format: "esm",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' },
    nodePaths: [root("web/node_modules")],
    alias,
  });

/** By the example's own configuration, in a copy from where the packages here are found. */
async function buildByVite(example: string) {
  const copy = root(`web/e2e/test-results/${name}/${example}`);
  await cp(root(`examples/${example}`), copy, { recursive: true });
  await viteBuild({
    root: copy,
    mode: "development", // in which a framework warns
    logLevel: "warn",
    resolve: { alias },
    build: { outDir: root(`examples/${example}/dist`), emptyOutDir: false },
  });
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await once(probe.listen(0, "127.0.0.1"), "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  return port;
}

const open = (example: string) => visit.page.goto(`${origin}/${example}/`);
/** What is inside the frame of an element. */
const inside = (css: string): Scope => visit.page.locator(`${css} iframe`).contentFrame();
const at = (scope: Scope, testid: string) => scope.locator(`[data-testid="cardveil-${testid}"]`);
const digits = async (scope: Scope) => {
  const pan = at(scope, "pan");
  await pan.waitFor();
  const groups = await pan.locator(".group").allTextContents();
  return groups.join(" ");
};
/** How often a page asked for a token, and Cardveil for a card. */
const asked = () => [
  wire.exchanges.filter(({ method, url }) => method === "POST" && url.pathname === "/token").length,
  wire.posted(/^\/client\/v1\/redeem$/).length,
];
const heard = async (what: string) => {
  await visit.page.waitForFunction(() => document.querySelector("#heard") !== null);
  await visit.page.locator("#heard").filter({ hasText: what }).waitFor();
};
/**
 * Of the page, its framework and the SDK. Firefox tells as errors that a hello went to an origin
 * that is not there, and that the driver's own style, for a picture, was not applied.
 */
const complaints = () =>
  visit.console.filter(
    (line) =>
      /^pageerror|Cardveil:|^(error|warning): .*(React|Vue|svelte)/.test(line) &&
      !/target origin provided|blocked an inline style/.test(line),
  );
/** A picture to look at. */
const picture = async (example: string) => {
  const dir = root(`web/e2e/screenshots/${name}`);
  await mkdir(dir, { recursive: true });
  await visit.page.screenshot({ path: `${dir}/example-${example}.png` });
};
const click = (name: string) => visit.page.getByRole("button", { name }).click();

describe("the element", () => {
  it("shows a whole card, and one in parts, each with one token (react-stripe-js#647, vue-stripe#392)", async () => {
    await open("element");
    expect(await digits(inside("#whole"))).toBe(PAN);
    expect(await digits(inside("#parts cardveil-part[name=pan]"))).toBe(PAN);
    await at(inside("#parts cardveil-part[name=expiry]"), "expiry").waitFor();
    await heard("whole revealed pan,expiry,name");
    expect(asked()).toEqual([2, 2]);
    await picture("element");
    await at(inside("#parts cardveil-part[name=toggle]"), "hide").click();
    await heard("parts hidden");
    expect(await at(inside("#parts cardveil-part[name=pan]"), "pan").count()).toBe(0);
  });
});

describe.each([
  // React's page has a card in parts too.
  ["React", "[data-cardveil=card]", "[data-cardveil=pan]"],
  ["Vue", "cardveil-card"],
  ["Svelte", "cardveil-card"],
])("%s", (framework, element, ...parts) => {
  const example = framework.toLowerCase();
  const cards = [element, ...parts];
  const whole = () => inside(element);
  const frames = () => visit.page.locator("iframe").count();
  const visitIt = async () => {
    await open(example);
    for (const css of cards) expect(await digits(inside(css))).toBe(PAN);
  };

  it("asks for one token for each card", async () => {
    await visitIt();
    await heard("revealed pan,expiry,name");
    await picture(example);
    // Each thing that was heard rendered the page anew, in React with options and functions made
    // anew, and twice at first, by StrictMode.
    expect(asked()).toEqual([cards.length, cards.length]);
    expect(complaints()).toEqual([]);
  });

  itOnce("changes language and looks of a card that is shown, without another token", async () => {
    await visitIt();
    const rounded = (radius: string) =>
      whole().locator(`html[style*="--radius: ${radius}"]`).waitFor({ state: "attached" });
    const before = asked();
    await rounded("12px");
    await click("In German");
    await whole().getByRole("button", { name: "Verbergen" }).waitFor();
    await rounded("4px");
    expect(await digits(whole())).toBe(PAN);
    await click("In English");
    await whole().getByRole("button", { name: "Hide" }).waitFor();
    expect(asked()).toEqual(before);
  });

  itOnce(
    "hides and shows, goes away with its component, and comes back with one more token",
    async () => {
      await visitIt();
      await click("Hide it");
      await heard("hidden");
      expect(await at(whole(), "pan").count()).toBe(0);
      await click("Show it");
      expect(await digits(whole())).toBe(PAN);
      const before = await frames();
      const [tokens = 0, redeemed = 0] = asked();
      await click("Close");
      await visit.page.locator(element).waitFor({ state: "detached" });
      expect(await frames()).toBe(before - 1);
      await click("Open");
      expect(await digits(whole())).toBe(PAN);
      expect(await frames()).toBe(before);
      expect(asked()).toEqual([tokens + 1, redeemed + 1]);
      expect(complaints()).toEqual([]);
    },
  );

  itOnce("hears the code of an error, and shows nothing", async () => {
    wire.fault(/^\/token$/, async () => "cut");
    await open(example);
    await heard("token_failed");
    expect(await at(whole(), "pan").count()).toBe(0);
  });
});

describe("React", () => {
  itOnce("hides a card in parts by a hook", async () => {
    await open("react");
    const pan = inside("[data-cardveil=pan]");
    await digits(pan);
    await click("Hide the parts");
    await at(pan, "pan").waitFor({ state: "detached" });
  });
});

describe("a page for Marqeta.js", () => {
  it("shows the card by the address of another script alone", async () => {
    await open("marqeta");
    await heard("success");
    const pan = inside("#mq-card-pan");
    expect(await digits(pan)).toBe(PAN);
    expect(await at(inside("#mq-card-cvv"), "cvv").textContent()).toMatch(/^\d{3}$/);
    expect(await at(inside("#mq-card-exp"), "expiry").textContent()).toMatch(/^\d\d\/\d\d$/);
    expect(asked()).toEqual([1, 1]);
    await picture("marqeta");
    // What the page calls `var(--digits)` and `darkslateblue`.
    const look = await at(pan, "pan").evaluate((element) => ({
      color: getComputedStyle(element).color,
      size: getComputedStyle(element).fontSize,
    }));
    expect(look).toEqual({ color: "rgb(72, 61, 139)", size: "20px" });
    expect(complaints()).toEqual([]);
  });

  it("copies by a click on the page's own button, over which the frame's lies", async () => {
    await open("marqeta");
    await heard("success");
    await press(at(inside("#mq-copy-card-pan"), "copy-pan"));
    await heard("copied");
  });
});
