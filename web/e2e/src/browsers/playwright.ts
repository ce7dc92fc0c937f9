/** Chromium and Firefox, as Debian builds them, by Playwright. */
import {
  type BrowserContextOptions,
  type BrowserType,
  chromium,
  firefox,
  type LaunchOptions,
  type Browser as Launched,
  type Page as PlaywrightPage,
} from "playwright-core";
import type { App, Browser, Look, Visit } from "./index.ts";
import type { Page } from "./page.ts";

const CHROMIUM: LaunchOptions = {
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Playwright switches off what gives a frame of another site its own storage; the last word
    // counts. The popups are pages of the address bar's, which each window would load anew.
    "--disable-features=Translate,WebUIOmniboxPopup,WebUIOmniboxAimPopup",
  ],
};

export async function launchChromium(): Promise<Browser> {
  const { dressed, close } = processes(chromium, ({ fontSize, leastFontSize }) => {
    const settings = Object.entries({ defaultFontSize: fontSize, minimumFontSize: leastFontSize })
      .filter(([, size]) => size !== undefined)
      .map(([name, size]) => `${name}=${size}`);
    return settings.length === 0
      ? CHROMIUM
      : { ...CHROMIUM, args: [...(CHROMIUM.args ?? []), `--blink-settings=${settings}`] };
  });
  const options = ({ fontSize: _, leastFontSize: __, ...look }: Look, proxy: string) => ({
    ...look,
    proxy: { server: proxy },
  });
  return {
    visit: async (look, proxy) => visit(await dressed(look), options(look, proxy)),
    app: async (look, proxy, ...page) => app(await dressed(look), options(look, proxy), ...page),
    close,
  };
}

/** By what they were launched with. They are the worker's, and serve one file after another. */
const launched = new Map<string, { rare: boolean; process: Promise<Launched> }>();

/** What no command is for, is a process's: there is one for each look that needs it. */
function processes(browser: BrowserType, optionsFor: (look: Look) => LaunchOptions) {
  const launch = (key: string, options: LaunchOptions, rare: boolean) => {
    const process = browser.launch(options);
    launched.set(key, { rare, process });
    // One that crashed, or never began, is launched anew by whoever needs it next.
    const forget = () => void (launched.get(key)?.process === process && launched.delete(key));
    process.then((running) => running.on("disconnected", forget), forget);
    return process;
  };
  return {
    dressed(look: Look): Promise<Launched> {
      const options = optionsFor(look);
      const key = JSON.stringify(options);
      return launched.get(key)?.process ?? launch(key, options, isRare(look));
    },
    async close(): Promise<void> {
      for (const { rare, process } of [...launched.values()]) {
        const running = await process;
        if (rare) await running.close();
        else await Promise.all(running.contexts().map((context) => context.close()));
      }
    },
  };
}

/** So few files need it that its process does not wait for the next. */
const isRare = ({ colorScheme, forcedColors, fontSize, leastFontSize }: Look) =>
  colorScheme === "dark" || [forcedColors, fontSize, leastFontSize].some((it) => it !== undefined);

/** At the worker's end. */
export async function endProcesses(): Promise<void> {
  await Promise.all([...launched.values()].map(async ({ process }) => (await process).close()));
}

/** By WebDriver BiDi, which Firefox itself speaks; `moz-firefox` is Playwright's name for that. */
export async function launchFirefox(): Promise<Browser> {
  const { dressed, close } = processes(firefox, (look) => ({
    channel: "moz-firefox",
    executablePath: process.env["FIREFOX"] ?? "/usr/bin/firefox-esr",
    firefoxUserPrefs: preferences(look),
  }));
  const options = ({ viewport, deviceScaleFactor = 1 }: Look, proxy: string) => {
    const unset = { colorScheme: null, reducedMotion: null, forcedColors: null, contrast: null };
    return { viewport, deviceScaleFactor, proxy: { server: proxy }, ...unset };
  };
  return {
    visit: async (look, proxy) => visit(await dressed(look), options(look, proxy)),
    app: async (look, proxy, ...page) => app(await dressed(look), options(look, proxy), ...page),
    close,
  };
}

function preferences({
  colorScheme,
  reducedMotion,
  forcedColors,
  fontSize = 16,
  leastFontSize = 0,
}: Look): Record<string, number | boolean> {
  return {
    // Playwright's clicks do not reach a frame that has a process of its own. Origins are kept
    // apart all the same.
    "fission.webContentIsolationStrategy": 0,
    "network.proxy.allow_hijacking_localhost": true,
    "layout.css.prefers-color-scheme.content-override": colorScheme === "dark" ? 0 : 1,
    "ui.prefersReducedMotion": reducedMotion === "reduce" ? 1 : 0,
    "browser.display.document_color_use": forcedColors === "active" ? 2 : 0,
    // Firefox has a setting for each script.
    ...Object.fromEntries(
      ["x-western", "ja", "ar", "zh-CN"].flatMap((script) => [
        [`font.size.variable.${script}`, fontSize],
        [`font.minimum-size.${script}`, leastFontSize],
      ]),
    ),
  };
}

/**
 * An app as Android's and Flutter's are: an object in the page whose `postMessage` takes a text.
 */
async function app(
  browser: Launched,
  options: BrowserContextOptions,
  address: string,
  tokenAddress: string,
): Promise<App> {
  const around = await visit(browser, options);
  const heard: string[] = [];
  const say = (message: object) =>
    around.page.evaluate(
      (message: object) => (window as unknown as Bridged).cardveil.receive(message),
      message as never,
    );
  const hear = async (text: string) => {
    heard.push(text);
    const { type } = JSON.parse(text) as { type: string };
    if (type === "hello")
      await say({ type: "configure", fields: ["pan", "expiry", "cvv", "name"] });
    if (type === "needToken")
      await say({
        type: "token",
        token: await (await fetch(tokenAddress, { method: "POST" })).text(),
      });
  };
  const page = around.page as unknown as PlaywrightPage;
  await page.exposeBinding("toApp", (_, text: string) => void hear(text));
  await page.addInitScript(() =>
    Object.assign(window, {
      cardveilApp: { postMessage: (text: string) => (window as unknown as Bridged).toApp(text) },
    }),
  );
  await page.goto(address);
  return Object.assign(around, { heard, say });
}

interface Bridged {
  cardveil: { receive(message: object): void };
  toApp(text: string): void;
}

async function visit(browser: Launched, options: BrowserContextOptions): Promise<Visit> {
  const context = await browser.newContext(options);
  // Shorter than a test's, so that the step that hangs is named.
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const console: string[] = [];
  page.on("console", (message) => console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => console.push(`pageerror: ${error.message}`));
  const frame = (prefix: string, nth = 0) => {
    const found = page.frames().filter((frame) => frame.url().startsWith(prefix))[nth];
    if (found === undefined) throw new Error(`no frame is at ${prefix}`);
    return found;
  };
  return {
    page: page as Page,
    console,
    frame,
    async heap(prefix) {
      const session = await context.newCDPSession(prefix === undefined ? page : frame(prefix));
      const chunks: string[] = [];
      session.on("HeapProfiler.addHeapSnapshotChunk", ({ chunk }) => chunks.push(chunk));
      // Takes the rubbish out first.
      await session.send("HeapProfiler.takeHeapSnapshot");
      await session.detach();
      return chunks.join("");
    },
    leave: () => context.close(),
  };
}
