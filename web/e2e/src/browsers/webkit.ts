/**
 * WebKit, as Debian builds it (WebKitGTK), by its own WebDriver: each visit has a display, a driver
 * and a browser of its own.
 *
 * Actions wait for their element, as Playwright's do. Clicks and keys are the driver's, so the
 * browser takes them for the user's.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { App, Browser, Look, Visit } from "./index.ts";
import type { Frame, Locator, Page, Role, Scope } from "./page.ts";
import { find, type Query, type Words } from "./query.ts";
import { type ElementReference, keyActions, Session, WebDriverError } from "./webdriver.ts";

const SHELL = fileURLToPath(new URL("shell.py", import.meta.url));
const WAIT_MS = 15_000;
const POLL_MS = 25;

export async function launchWebkit(): Promise<Browser> {
  return {
    visit: (look, proxy) => visit(look, [proxy]),
    async app(look, proxy, ...page): Promise<App> {
      const heard: string[] = [];
      // The app of examples/webview.
      const around = await visit(look, [proxy, ...page], (line) => heard.push(line));
      const say = (message: object) =>
        around.page.evaluate(
          (message) =>
            (
              window as unknown as { cardveil: { receive(message: object): void } }
            ).cardveil.receive(message),
          message as never,
        );
      return Object.assign(around, { heard, say });
    },
    close: async () => undefined,
  };
}

async function visit(
  look: Look,
  [proxy = "", ...app]: string[],
  heard: (line: string) => void = () => undefined,
): Promise<Visit> {
  const size = `${look.viewport.width}x${look.viewport.height}`;
  const display = spawn("Xvfb", ["-displayfd", "3", "-screen", "0", `${size}x24`], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const DISPLAY = `:${await firstLine(display, 3)}`;
  const port = await freePort();
  const driver = spawn("WebKitWebDriver", [`--port=${port}`], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, DISPLAY },
  });
  createInterface({ input: driver.stdout }).on("line", heard);
  const address = `http://127.0.0.1:${port}`;
  await patiently("WebKitWebDriver", () => fetch(`${address}/status`).catch(() => undefined));
  const args = [
    size,
    proxy,
    look.colorScheme ?? "light",
    look.reducedMotion ?? "no-preference",
    ...app,
  ];
  const session = await Session.start(address, {
    "webkitgtk:browserOptions": { binary: SHELL, args },
  });
  const page = new WebkitPage(session);
  return {
    page,
    console: [], // the driver tells nothing of it
    frame: (prefix, nth = 0) =>
      new WebkitFrame(session, { all: { css: `iframe[src^="${prefix}"]` }, nth }, prefix),
    heap: () => Promise.reject(new Error("WebKitWebDriver has no command for the heap")),
    async leave() {
      await session.delete().catch(() => undefined); // the window goes before it answers
      await Promise.all([driver, display].map(end));
    },
  };
}

/** Where something is looked for: the page, or the frame that the query finds in it. */
type Place = Query | undefined;

class WebkitScope implements Scope {
  constructor(
    protected readonly session: Session,
    protected readonly place: Place,
    protected readonly inside?: Query,
  ) {}

  locator(css: string): Locator {
    return this.#at({ css, ...this.#inside });
  }

  getByText(text: string, { exact } = { exact: false }): Locator {
    return this.#at({ text, exact, ...this.#inside });
  }

  getByRole(role: Role, { name }: { name?: string | RegExp } = {}): Locator {
    return this.#at({
      role,
      ...(name === undefined ? {} : { name: words(name) }),
      ...this.#inside,
    });
  }

  #at(query: Query): Locator {
    return new WebkitLocator(this.session, this.place, query);
  }

  get #inside(): { inside?: Query } {
    return this.inside === undefined ? {} : { inside: this.inside };
  }

  /** Steps into the place, and does it there. */
  protected there<T>(run: () => Promise<T>): Promise<T> {
    return this.session.alone(async () => {
      await this.session.post("frame", { id: null });
      if (this.place !== undefined) {
        const [frame] = await this.session.run<ElementReference[]>(find.toString(), this.place);
        if (frame === undefined)
          throw new WebDriverError("no such frame: the page has none like it");
        await this.session.post("frame", { id: frame });
      }
      return run();
    });
  }
}

class WebkitFrame extends WebkitScope implements Frame {
  constructor(
    session: Session,
    place: Place,
    private readonly address: string,
  ) {
    super(session, place);
  }

  url(): string {
    return this.address;
  }

  evaluate<R>(run: string | ((argument: never) => R | Promise<R>), argument?: unknown): Promise<R> {
    const source = typeof run === "string" ? `() => { ${run} }` : run.toString();
    return this.there(() => this.session.run<R>(source, argument));
  }
}

class WebkitPage extends WebkitFrame implements Page {
  constructor(session: Session) {
    super(session, undefined, "");
  }

  readonly keyboard = {
    press: (key: string) =>
      this.session.alone(async () => void (await this.session.post("actions", keyActions(key)))),
  };

  async goto(url: string): Promise<void> {
    await this.session.alone(() => this.session.post("url", { url }));
  }

  async goBack(): Promise<void> {
    await this.session.alone(() => this.session.post("back"));
  }

  content(): Promise<string> {
    return this.evaluate(() => document.documentElement.outerHTML);
  }

  async screenshot({ path }: { path: string }): Promise<void> {
    await this.evaluate(
      () =>
        new Promise<void>((painted) =>
          requestAnimationFrame(() => requestAnimationFrame(() => painted())),
        ),
    );
    const picture = await this.there(() => this.session.get("screenshot"));
    await writeFile(path, Buffer.from(String(picture), "base64"));
  }

  get clock(): never {
    throw new Error("WebKitWebDriver has no command to turn a clock");
  }

  pdf(): Promise<never> {
    throw new Error("WebKitWebDriver has no command to print");
  }

  async waitForFunction(run: () => unknown): Promise<void> {
    await patiently(String(run), async () => ((await this.evaluate(run)) ? true : undefined));
  }
}

type State = "attached" | "detached" | "visible" | "hidden";

class WebkitLocator extends WebkitScope implements Locator {
  constructor(
    session: Session,
    place: Place,
    private readonly query: Query,
  ) {
    super(session, place, query);
  }

  contentFrame(): Scope {
    return new WebkitScope(this.session, this.query);
  }

  and(other: Locator): Locator {
    return this.#like({ all: this.query, and: (other as WebkitLocator).query });
  }

  or(other: Locator): Locator {
    return this.#like({ all: this.query, or: (other as WebkitLocator).query });
  }

  filter({ hasText }: { hasText: string | RegExp }): Locator {
    return this.#like({ all: this.query, with: words(hasText) });
  }

  first(): Locator {
    return this.nth(0);
  }

  last(): Locator {
    return this.nth(-1);
  }

  nth(index: number): Locator {
    return this.#like({ all: this.query, nth: index });
  }

  async click(): Promise<void> {
    await this.#ready("click", {});
  }

  async fill(text: string): Promise<void> {
    await this.waitFor();
    await this.evaluate((element) => (element as HTMLInputElement).select());
    await this.#ready("value", { text });
  }

  async focus(): Promise<void> {
    await this.evaluate((element) => element.focus());
  }

  async press(key: string): Promise<void> {
    await this.waitFor();
    // By script, because WebKit's driver types into what it could write into, and nothing else.
    const focused = await this.evaluate(
      (element) => (element.focus(), element === document.activeElement && document.hasFocus()),
    );
    if (!focused)
      throw new Error(
        `${this} did not get the focus: a frame of another site has to be clicked first`,
      );
    await this.there(() => this.session.post("actions", keyActions(key)));
  }

  async waitFor({ state }: { state: State } = { state: "visible" }): Promise<void> {
    await patiently(`${this} to be ${state}`, async () =>
      (await this.#states()).includes(state) ? true : undefined,
    );
  }

  count(): Promise<number> {
    return this.evaluateAll((elements) => elements.length);
  }

  allTextContents(): Promise<string[]> {
    return this.evaluateAll((elements) => elements.map(({ textContent }) => textContent ?? ""));
  }

  textContent(): Promise<string | null> {
    return this.evaluate((element) => element.textContent);
  }

  inputValue(): Promise<string> {
    return this.evaluate((element) => (element as HTMLInputElement).value);
  }

  getAttribute(name: string): Promise<string | null> {
    return this.#one((element: HTMLElement, name: string) => element.getAttribute(name), name);
  }

  async isVisible(): Promise<boolean> {
    return (await this.#states()).includes("visible");
  }

  async isEnabled(): Promise<boolean> {
    return !(await this.isDisabled());
  }

  isDisabled(): Promise<boolean> {
    return this.evaluate((element) => element.matches(":disabled"));
  }

  evaluate<R>(run: (element: HTMLElement) => R | Promise<R>): Promise<R> {
    return this.#one(run);
  }

  async evaluateAll<R>(run: (elements: HTMLElement[]) => R | Promise<R>): Promise<R> {
    return this.#all<R>(run);
  }

  override toString(): string {
    return JSON.stringify(this.query);
  }

  #like(query: Query): WebkitLocator {
    return new WebkitLocator(this.session, this.place, query);
  }

  /** With all that are there now. */
  #all<R>(run: Function, ...args: unknown[]): Promise<R> {
    return this.there(() =>
      this.session.run<R>(
        `(query, ...args) => (${run})((${find})(query), ...args)`,
        this.query,
        ...args,
      ),
    );
  }

  /** With the one, as soon as it is there. */
  async #one<R>(run: Function, ...args: unknown[]): Promise<R> {
    const source = `([element, another], ...args) => another !== undefined ? { many: true } : element === undefined ? {} : Promise.resolve((${run})(element, ...args)).then((value) => ({ value }))`;
    const { value } = await patiently(`${this}`, async () => {
      const found = await this.#inFrame(() =>
        this.#all<{ value: R; many?: true }>(source as never, ...args),
      );
      if (found?.many) throw new Error(`there are several of ${this}`);
      return found !== undefined && "value" in found ? found : undefined;
    });
    return value;
  }

  async #states(): Promise<State[]> {
    return (await this.#inFrame(() => this.#all<State[]>(states))) ?? ["detached", "hidden"];
  }

  /** Nothing, where the frame is not there or went away. */
  #inFrame<R>(run: () => Promise<R>): Promise<R | undefined> {
    return run().catch((error) => {
      if (
        error instanceof WebDriverError &&
        // The driver has no word for a frame that goes while it steps in.
        /^(no such (frame|window)|stale element|unknown error: +\(POST \/frame\))/.test(
          error.message,
        )
      )
        return undefined;
      throw error;
    });
  }

  /** Sends the driver a command for the one, as soon as a user could do it. */
  async #ready(command: string, body: object): Promise<void> {
    await patiently(`${this}, to ${command}`, () =>
      this.#inFrame(async () => {
        const [element, another] = await this.#all<ElementReference[]>(usable);
        if (another !== undefined) throw new Error(`there are several of ${this}`);
        if (element === undefined) return undefined;
        await this.there(() =>
          this.session.post(`element/${Object.values(element)[0]}/${command}`, body),
        );
        return true;
      }),
    );
  }
}

// These run in the page.

const usable = (elements: Element[]) =>
  elements.filter(
    (element) =>
      element.checkVisibility({ visibilityProperty: true }) && !element.matches(":disabled"),
  );

function states(elements: Element[]): State[] {
  const [element, another] = elements;
  if (another !== undefined) throw new Error("there are several");
  if (element === undefined) return ["detached", "hidden"];
  const { width, height } = element.getBoundingClientRect();
  return [
    "attached",
    width > 0 && height > 0 && element.checkVisibility({ visibilityProperty: true })
      ? "visible"
      : "hidden",
  ];
}

function words(wanted: string | RegExp): Words {
  return typeof wanted === "string" ? wanted : { source: wanted.source, flags: wanted.flags };
}

/** Looks until there is something, and says what was missing when there was nothing. */
async function patiently<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + WAIT_MS; Date.now() < end;) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((next) => setTimeout(next, POLL_MS));
  }
  throw new Error(`waited ${WAIT_MS / 1000} s for ${what}`);
}

async function firstLine(child: ChildProcess, fd: number): Promise<string> {
  const lines = createInterface({ input: child.stdio[fd] as NodeJS.ReadableStream });
  const [line] = await once(lines, "line");
  return String(line);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  await once(server.close(), "close");
  return port;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, "exit");
}
