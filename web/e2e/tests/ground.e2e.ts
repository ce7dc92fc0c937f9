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
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
// @ts-expect-error plain JavaScript, as its readers get it
import { token } from "../../../examples/server.mjs";
import type { Card, CardveilFactory, CardveilPart } from "../../sdk/src/api.ts";
import {
  type Browser,
  itNeeds,
  launch,
  name as browserName,
  type Visit,
} from "../src/browsers/index.ts";
import type { Frame } from "../src/browsers/page.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { GROUNDS, PARTS, serveHosts } from "../src/hosts.ts";
import { type Box, contrastIn, pictureIn } from "../src/pixels.ts";
import { Visits } from "../src/visits.ts";

/** Twice the pixels where the driver can, so that thin strokes have their colour. */
const SCALE = browserName === "webkit" ? 1 : 2;

interface Host {
  whole: Card;
  loaded: Promise<void>;
}

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

/** What stands in the frames, each by selectors, by the part that the frame shows. */
type Texts = Partial<Record<CardveilPart | "card", string[]>>;
const id = (testid: string) => `[data-testid="cardveil-${testid}"]`;

const SHOWN: Texts = {
  card: [id("countdown"), id("hide")],
  pan: [".group:nth-child(1)", ".group:nth-child(2)", ".group:nth-child(4)"],
  expiry: [id("expiry")],
  cvv: [id("show-cvv")],
  name: [id("name")],
  countdown: [id("countdown")],
  toggle: [id("hide")],
};
const HIDDEN: Texts = { card: [".note:not(.said)", id("show")] };

/**
 * Where the one of each selector is in a frame, as soon as all are to be seen. The frame is asked as
 * a whole, once: a locator's own script takes a
 * fifth of a second of Firefox in each.
 */
const places = (frame: Frame, selectors: string[]): Promise<Box[]> =>
  frame.evaluate(async (selectors) => {
    for (const end = performance.now() + 15_000; ;) {
      const found = selectors.map((selector) => {
        const [element, another] = document.querySelectorAll(selector);
        if (another !== undefined) throw new Error(`there are several of ${selector}`);
        return element?.checkVisibility({ visibilityProperty: true })
          ? element.getBoundingClientRect()
          : new DOMRect();
      });
      if (found.every(({ width, height }) => width > 0 && height > 0))
        return found.map(({ left, top, width, height }) => ({ left, top, width, height }));
      if (performance.now() > end) throw new Error(`not all are to be seen: ${selectors}`);
      await new Promise(requestAnimationFrame);
    }
  }, selectors);

describe.each(["light", "dark"] as const)("on a %s device", (colorScheme) => {
  describe.each(GROUNDS.map((host, index) => ({ ...host, index })))(
    "$name",
    ({ index, framed, later }) => {
      let visit: Visit;
      let host: Frame;

      async function arrive(): Promise<void> {
        visit = await visits.like({
          // No more than the card and its parts take.
          viewport: { width: 640, height: 720 },
          colorScheme,
          reducedMotion: "reduce",
          deviceScaleFactor: SCALE,
        });
        await visit.page.goto(`${origin}/${index}/`);
        host = framed ? visit.frame(`${origin}/${index}/inner`) : visit.page;
        // An isolated page comes in another process, and WebKit's driver may be asked before.
        await vi.waitFor(
          () =>
            host.evaluate(async (path) => {
              const { loaded } = window as unknown as Host;
              if (!location.pathname.startsWith(path) || loaded === undefined)
                throw new Error(`no cards are at ${location}`);
              await loaded;
            }, `/${index}/`),
          { timeout: 15_000 },
        );
        // A driver may hear of the last one later than the page.
        await vi.waitFor(() => inside("toggle"));
      }

      function inside(part: string): Frame {
        const [as, nth] = part === "card" ? [part, 0] : ["part", PARTS.indexOf(part)];
        return visit.frame(`${demo.client_url}/embed/${demo.embed}?lang=en&as=${as}&`, nth);
      }

      /** Those of these texts that cannot be read. */
      async function unreadable(texts: Texts): Promise<Record<string, number>> {
        const asked = Object.entries(texts).map(async ([part, selectors]) => {
          const boxes = await places(inside(part), selectors);
          return boxes.map((box, nth) => ({ text: `${part}: ${selectors[nth]}`, part, box }));
        });
        const all = (await Promise.all(asked)).flat();
        const frames = await host.evaluate(() =>
          Object.fromEntries(
            [...document.querySelectorAll("iframe")].map((frame) => {
              const { left, top } = frame.getBoundingClientRect();
              return [frame.parentElement?.id, { left, top }];
            }),
          ),
        );
        const [{ left, top } = { left: 0, top: 0 }] = framed
          ? await places(visit.page, ["#inner"])
          : [];
        const path = join(pictures, `${crypto.randomUUID()}.png`);
        await visit.page.screenshot({ path });
        const picture = await pictureIn(path);
        const found: Record<string, number> = {};
        for (const { text, part, box } of all) {
          const around = frames[part];
          const ratio = contrastIn(picture, {
            left: (left + around.left + box.left) * SCALE,
            top: (top + around.top + box.top) * SCALE,
            width: box.width * SCALE,
            height: box.height * SCALE,
          });
          if (ratio < 4.5) found[text] = Number(ratio.toFixed(2));
        }
        return found;
      }

      async function changed(...parts: string[]): Promise<void> {
        if (later === undefined) throw new Error("nothing changes here");
        const before = await host.evaluate(({ name, value }) => {
          document.documentElement.setAttribute(name, value);
          return document.querySelector("iframe")?.style.colorScheme;
        }, later);
        const after = before === "dark" ? "light" : "dark";
        // Told, and painted.
        for (const part of parts) await places(inside(part), [`:root[data-theme="${after}"]`]);
      }

      const read = framed ? itNeeds("frames in frames") : it;
      read("can be read, whole and in parts", async () => {
        await arrive();
        expect(await unreadable(SHOWN)).toEqual({});
        if (later !== undefined) {
          await changed("card", "pan");
          expect(await unreadable(SHOWN)).toEqual({});
        }
        // By the page: Firefox's driver reaches no frame that has a process of its own.
        await host.evaluate(() => (window as unknown as Host).whole.hide());
        expect(await unreadable(HIDDEN)).toEqual({});
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
    await page.locator("#card iframe").contentFrame().locator(id("hide")).waitFor();
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
