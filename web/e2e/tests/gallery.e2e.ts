/**
 * Every look, state and failure of the frame, as the demo's gallery shows them.
 *
 * Counts as a failure: anything that axe has against a specimen or the page; something that does
 * not fit; a place that a keyboard cannot leave; motion where none is wanted.
 */
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Browser, launch, type Look, name, type Visit } from "../src/browsers/index.ts";
import type { Frame } from "../src/browsers/page.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { Visits } from "../src/visits.ts";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SECTIONS = ["looks", "languages", "states", "parts", "failures"] as const;

let demo: Demo;
let browser: Browser;
let visits: Visits;
let visit: Visit;

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
  visits = new Visits(browser);
});

afterAll(async () => {
  await visits?.leave();
  await browser?.close();
  await demo?.stop();
});

async function open(query: string, look: Partial<Look> = {}): Promise<void> {
  visit = await visits.like({
    viewport: { width: 1200, height: 900 },
    reducedMotion: "reduce",
    ...look,
  });
  await visit.page.goto(`${demo.shop_url}/gallery?${query}`);
  // The specimens are of the page's own origin, so it can look into them.
  await visit.page.waitForFunction(() => {
    const frames = [...document.querySelectorAll("iframe")];
    return (
      frames.length > 0 &&
      frames.every((frame) => frame.contentDocument?.documentElement.dataset["drawn"] !== undefined)
    );
  });
}

/** Each specimen's document, by what it shows, and the paper that it is on. */
async function specimens(): Promise<{ title: string; paper: string; frame: Frame }[]> {
  const found = await visit.page.evaluate(() => {
    const stage = getComputedStyle(document.querySelector(".stage") as Element).backgroundColor;
    return [...document.querySelectorAll("iframe")].map((frame) => ({
      title: frame.title,
      url: frame.contentWindow?.location.href ?? "",
      paper: frame.dataset["theme"] === undefined ? stage : getComputedStyle(frame).backgroundColor,
    }));
  });
  return found.map(({ title, url, paper }) => ({ title, paper, frame: visit.frame(url) }));
}

/**
 * What axe has against a document. It does not see the page through a transparent frame, so the
 * frame gets its paper.
 */
async function complaints(frame: Frame, paper: string, isPage = false): Promise<string[]> {
  await frame.evaluate(AXE);
  return frame.evaluate(
    async ({ paper, isPage }) => {
      const { axe } = window as unknown as {
        axe: {
          run(
            options: object,
          ): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
        };
      };
      if (!isPage) document.documentElement.style.background = paper;
      const { violations } = await axe.run({
        iframes: false,
        rules: { "page-has-heading-one": { enabled: isPage } },
      });
      document.documentElement.style.background = "";
      return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
    },
    { paper, isPage },
  );
}

const fits = (frame: Frame) =>
  frame.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);

const LOOKS: [string, string, Partial<Look>][] = [
  ["light", "theme=light", { colorScheme: "light" }],
  ["dark", "theme=dark", { colorScheme: "dark" }],
  ["375", "theme=light", { viewport: { width: 375, height: 900 } }],
  ["right-to-left", "theme=light&lang=ar", {}],
];

// One browser alone: what is asked is of the documents, and each run takes minutes.
const inChromium = name === "chromium";
describe.runIf(inChromium).each(LOOKS)("%s", (look, query, how) => {
  it.each(SECTIONS)("axe finds nothing in %s, all of which fits", async (section) => {
    await open(`${query}&only=${section}`, how);
    expect(await complaints(visit.page, "", true)).toEqual([]);
    expect(await fits(visit.page)).toBe(true);
    const found: string[] = [];
    for (const { title, paper, frame } of await specimens()) {
      found.push(...(await complaints(frame, paper)).map((complaint) => `${title}: ${complaint}`));
      if (!(await fits(frame))) found.push(`${title}: does not fit`);
    }
    expect(found).toEqual([]);
    const dir = fileURLToPath(new URL(`../screenshots/${name}/`, import.meta.url));
    await mkdir(dir, { recursive: true });
    await visit.page.screenshot({
      path: `${dir}gallery-${section}-${look}.png`,
      fullPage: true,
    } as { path: string });
  });
});

it.runIf(inChromium)("moves nothing where motion is not wanted", async () => {
  await open("only=states");
  const moving: string[] = [];
  for (const { title, frame } of await specimens()) {
    const animations = await frame.evaluate(() => document.getAnimations().length);
    if (animations > 0) moving.push(title);
  }
  expect(moving).toEqual([]);
});

it.runIf(inChromium)(
  "can be walked through by keyboard, into every specimen and out again",
  async () => {
    await open("only=states");
    const buttons = await visit.page.evaluate(() =>
      [...document.querySelectorAll("iframe")].reduce(
        (sum, frame) =>
          sum + (frame.contentDocument?.querySelectorAll("button:enabled").length ?? 0),
        0,
      ),
    );
    const links = 9;
    const where = () =>
      visit.page.evaluate(() => {
        const outer = document.activeElement;
        const inner =
          outer instanceof HTMLIFrameElement ? outer.contentDocument?.activeElement : null;
        return outer instanceof HTMLIFrameElement
          ? inner?.tagName === "BUTTON"
            ? outer.title
            : ""
          : "";
      });
    const reached: string[] = [];
    for (let presses = 0; presses < links + buttons + 3; presses += 1) {
      await visit.page.keyboard.press("Tab");
      const at = await where();
      if (at !== "") reached.push(at);
      // The last one lets the focus out again.
      else if (reached.length > 0) break;
    }
    expect(reached).toHaveLength(buttons);
    expect(await where()).toBe("");
  },
);
