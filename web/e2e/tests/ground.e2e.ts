/**
 * A card on pages of every kind, on devices of both kinds: what stands outside the card's face can
 * be read on what lies behind it, in the picture that the cardholder sees.
 *
 * Counts as a failure: a text of less than 4.5:1 (WCAG 2.2, 1.4.3) in any state.
 */
import { mkdtemp } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PNG } from "pngjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, as its readers get it
import { token } from "../../../examples/server.mjs";
import type { Card, CardveilFactory } from "../../sdk/src/api.ts";
import { type Browser, itNeeds, launch, name as browserName } from "../src/browsers/index.ts";
import type { Locator, Page, Scope } from "../src/browsers/page.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { GROUNDS, serveHosts } from "../src/hosts.ts";
import { type Box, contrastIn, pictureIn } from "../src/pixels.ts";
import { Visits } from "../src/visits.ts";

/** Twice the pixels where the driver can, so that thin strokes have their colour. */
const SCALE = browserName === "webkit" ? 1 : 2;

let demo: Demo;
let browser: Browser;
let origin: string;
let server: Server;
let visits: Visits;
let pictures: string;

beforeAll(async () => {
  const port = await freePort();
  [demo, browser, pictures] = await Promise.all([
    startDemo("--allow-origin", `http://localhost:${port}`),
    launch(),
    mkdtemp(join(tmpdir(), "cardveil-ground-")),
  ]);
  visits = new Visits(browser);
  const {
    merchant_url: merchantUrl,
    client_url: client,
    equals_api_key: apiKey,
    embed,
    cards,
  } = demo;
  const cardNo = cards.find(({ last_four }) => last_four === "1111")?.card_no;
  const issue = async () => (await token({ merchantUrl, apiKey, cardNo })).body;
  [origin, server] = await serveHosts(GROUNDS, issue, { client, embed }, port);
});
afterAll(async () => {
  await visits?.leave();
  server?.close();
  server?.closeAllConnections();
  await browser?.close();
  await demo?.stop();
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((done) => probe.listen(0, "127.0.0.1", done));
  const { port } = probe.address() as { port: number };
  probe.close();
  return port;
}

const place = (element: Locator): Promise<Box> =>
  element.evaluate((element) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    return { left, top, width, height };
  });

/** The contrast of something in a frame that has this place, in the picture of all. */
async function contrast(picture: PNG, frame: Box, element: Locator): Promise<number> {
  const box = await place(element);
  return contrastIn(picture, {
    left: (frame.left + box.left) * SCALE,
    top: (frame.top + box.top) * SCALE,
    width: box.width * SCALE,
    height: box.height * SCALE,
  });
}

/** By name, the frame's place and how it is found in there. */
type Text = [frame: string, text: (frame: Scope) => Locator];
type Texts = Record<string, Text>;
const byId = (scope: Scope, testid: string) => scope.locator(`[data-testid="cardveil-${testid}"]`);

describe.each(["light", "dark"] as const)("on a %s device", (colorScheme) => {
  describe.each(GROUNDS.map((host, index) => ({ ...host, index })))(
    "$name",
    ({ index, framed, later }) => {
      let page: Page;

      async function arrive(): Promise<Scope> {
        ({ page } = await visits.like({
          // No more than the card and its parts take: every pixel is looked at.
          viewport: { width: 640, height: 720 },
          colorScheme,
          reducedMotion: "reduce",
          deviceScaleFactor: SCALE,
        }));
        await page.goto(`${origin}/${index}/`);
        return framed ? page.locator("#inner").contentFrame() : page;
      }

      /** Those of these texts that cannot be read. */
      async function unreadable(host: Scope, texts: Texts): Promise<Record<string, number>> {
        const path = join(pictures, `${crypto.randomUUID()}.png`);
        await page.screenshot({ path });
        const picture = await pictureIn(path);
        const outer = framed ? await place(page.locator("#inner")) : { left: 0, top: 0 };
        const frames = new Map<string, Box>();
        const found: Record<string, number> = {};
        for (const [text, [css, of]] of Object.entries(texts)) {
          const frame = host.locator(`${css} iframe`);
          const box = frames.get(css) ?? (await place(frame));
          frames.set(css, box);
          const ratio = await contrast(
            picture,
            { ...box, left: outer.left + box.left, top: outer.top + box.top },
            of(frame.contentFrame()),
          );
          if (ratio < 4.5) found[text] = Number(ratio.toFixed(2));
        }
        return found;
      }

      async function changed(...places: string[]): Promise<void> {
        if (later === undefined) throw new Error("nothing changes here");
        const scheme = (css: string) =>
          page.locator(`${css} iframe`).evaluate((frame) => frame.style.colorScheme);
        const before = await scheme(String(places[0]));
        await page.evaluate(
          ({ name, value }) => document.documentElement.setAttribute(name, value),
          later,
        );
        const after = before === "dark" ? "light" : "dark";
        for (const css of places) {
          // Told, and painted.
          const root = page
            .locator(`${css} iframe`)
            .contentFrame()
            .locator(`:root[data-theme="${after}"]`);
          await root.waitFor({ state: "attached" });
        }
      }

      const read = framed ? itNeeds("frames in frames") : it;
      read("can be read, whole and in parts", async () => {
        const host = await arrive();
        const whole = host.locator("#card iframe").contentFrame();
        const part = (name: string) => host.locator(`[data-part=${name}] iframe`).contentFrame();
        await byId(whole, "hide").waitFor();
        await byId(part("pan"), "pan").waitFor();
        await byId(part("toggle"), "hide").waitFor();
        await byId(part("name"), "name").waitFor();
        const ofWhole = (testid: string): Text => ["#card", (frame) => byId(frame, testid)];
        const ofPart = (name: string, testid = name): Text => [
          `[data-part=${name}]`,
          (frame) => byId(frame, testid),
        ];
        const group = (nth: number): Text => [
          "[data-part=pan]",
          (frame) => frame.locator(".group").nth(nth),
        ];
        const shown = {
          "countdown of the whole": ofWhole("countdown"),
          hide: ofWhole("hide"),
          first: group(0),
          second: group(1),
          last: group(3),
          expiry: ofPart("expiry"),
          cvv: ofPart("cvv", "show-cvv"),
          name: ofPart("name"),
          countdown: ofPart("countdown"),
          toggle: ofPart("toggle", "hide"),
        };
        expect(await unreadable(host, shown)).toEqual({});
        if (later !== undefined) {
          await changed("#card", "[data-part=pan]");
          expect(await unreadable(host, shown)).toEqual({});
        }
        // By the page: Firefox's driver reaches no frame that has a process of its own.
        await host
          .locator("main")
          .evaluate(() => (window as unknown as { whole: Card }).whole.hide());
        await byId(whole, "show").waitFor();
        const hidden = {
          note: ["#card", (frame) => frame.locator(".note:not(.said)")] as Text,
          show: ofWhole("show"),
        };
        expect(await unreadable(host, hidden)).toEqual({});
      });
    },
  );
});

describe("the doctor", () => {
  it("adds no report to those of a page whose policy lets the frame in and forbids to ask", async () => {
    const { page } = await visits.like({ viewport: { width: 640, height: 760 } });
    await page.goto(
      `${origin}/${GROUNDS.findIndex(({ name }) => name === "under a strict policy")}/`,
    );
    await byId(page.locator("#card iframe").contentFrame(), "hide").waitFor();
    const found = await page.evaluate(async () => {
      const reports: string[] = [];
      addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) =>
        reports.push(`${effectiveDirective} ${blockedURI}`),
      );
      const { checks } = await (
        window as unknown as { veil: ReturnType<CardveilFactory> }
      ).veil.doctor();
      // A violation is told in a task of its own.
      await new Promise((done) => setTimeout(done));
      return { reports, wrong: checks.filter(({ ok }) => !ok) };
    });
    expect(found).toEqual({ reports: [], wrong: [] });
  });
});
