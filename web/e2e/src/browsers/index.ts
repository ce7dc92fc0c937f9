/**
 * The browser in which this run's tests take place; `BROWSER` names it.
 *
 * To add one: its name and what its driver cannot do in `abilities.ts`, its launcher in `LAUNCH`,
 * and its column in the table of web/README.md.
 */
import { it } from "vitest";
import { type Ability, CANNOT, type Name, nameOf } from "./abilities.ts";
import type { Frame, Page } from "./page.ts";
import { launchChromium, launchFirefox } from "./playwright.ts";
import { launchWebkit } from "./webkit.ts";

export interface Browser {
  /** A window of its own, with nothing left of others, whose traffic goes through the proxy. */
  visit(look: Look, proxy: string): Promise<Visit>;
  /** The same for a page that an app opens in its WebView, with the app around it. */
  app(look: Look, proxy: string, page: string, tokenAddress: string): Promise<App>;
  /** At a file's end: leaves what it visited, and keeps what the worker's next file needs too. */
  close(): Promise<void>;
}

export interface App extends Visit {
  /** What came over the bridge, as it came. */
  readonly heard: string[];
  /** Speaks to the page as the app does. */
  say(message: object): Promise<void>;
}

export interface Look {
  viewport: { width: number; height: number };
  colorScheme?: "light" | "dark";
  reducedMotion?: "reduce";
  forcedColors?: "active";
  deviceScaleFactor?: number;
  /** What the browser is told to write in, in CSS pixels. */
  fontSize?: number;
  /** The least that the browser is told to write in, whatever a page says. */
  leastFontSize?: number;
}

export interface Visit {
  readonly page: Page;
  /** What stands in the browser's console. */
  readonly console: string[];
  /** The first frame whose address starts so, or the nth of them, to look into it as no page can. */
  frame(prefix: string, nth?: number): Frame;
  /** A snapshot of the heap that a frame lives in, or else the page, as text. */
  heap(prefix?: string): Promise<string>;
  leave(): Promise<void>;
}

const LAUNCH: Record<Name, () => Promise<Browser>> = {
  chromium: launchChromium,
  firefox: launchFirefox,
  webkit: launchWebkit,
};
export const name = nameOf(process.env["BROWSER"]);

export const launch = (): Promise<Browser> => LAUNCH[name]();

/**
 * `it`, for what the server decides, what the logic of the SDK, the frame or the shop decides, and
 * pictures to look at: Chromium shows it for all.
 */
export const itOnce = it.runIf(name === "chromium");

/** `it.each`, where an engine has a part in some of the rows; the others run as with `itOnce`. */
export function itForEach<Row extends unknown[]>(rows: Row[], hasPart: (row: Row) => boolean) {
  return (test: string, run: (...row: Row) => Promise<void>): void => {
    it.each(rows.filter(hasPart))(test, run);
    itOnce.each(rows.filter((row) => !hasPart(row)))(test, run);
  };
}

/**
 * `it`, for a test that not every browser's driver can do; where it cannot, the test's name says
 * so.
 */
export function itNeeds(ability: Ability): (test: string, run: () => Promise<void>) => void {
  if (!CANNOT[name].includes(ability)) return it;
  return (test, run) => it.skip(`${test} (not in ${name}, where this lacks: ${ability})`, run);
}
