/**
 * The page of an app's WebView. Counts as a failure: a digit on the bridge; a card shown without an
 * app; a wrong option passed over in silence; an app that is waited for without end.
 */
import { type ForPage, parseForPage } from "@cardveil/protocol";
import { beforeEach, describe, expect, it } from "vitest";
import { type Begun, serveApp, type Surface } from "../src/app.ts";
import { View } from "../src/view.ts";
import { CARD, CONFIG, TOKEN, World } from "./world.ts";

type Said = Record<string, unknown>;

/** The app, on its side of the bridge. */
class App {
  readonly heard: Said[] = [];
  readonly begun: Parameters<Begun>[] = [];
  surface: Surface = {};
  readonly #waiting: { type: string; resolve(message: Said): void }[] = [];

  readonly poster = {
    postMessage: (text: string) => {
      const message = JSON.parse(text) as Said;
      this.heard.push(message);
      const index = this.#waiting.findIndex(({ type }) => type === message["type"]);
      if (index >= 0) this.#waiting.splice(index, 1)[0]?.resolve(message);
    },
  };

  /** The next message of a type. */
  next(type: string): Promise<Said> {
    return new Promise((resolve) => this.#waiting.push({ type, resolve }));
  }

  say(message: unknown): void {
    this.surface.cardveil?.receive(message);
  }

  get types(): unknown[] {
    return this.heard.map(({ type }) => type);
  }
}

let world: World;
let app: App;
let root: HTMLElement;

function open(surface: (app: App) => Surface): void {
  world = new World();
  app = new App();
  app.surface = surface(app);
  root = document.createElement("main");
  document.body.replaceChildren(root);
  serveApp(app.surface, CONFIG, world, new View(root, CONFIG.words), (...begun) =>
    app.begun.push(begun),
  );
}

const SURFACES: Record<string, (app: App) => Surface> = {
  "WKWebView's": ({ poster }) => ({ webkit: { messageHandlers: { cardveilApp: poster } } }),
  "Android's and Flutter's": ({ poster }) => ({ cardveilApp: poster }),
  "React Native's": ({ poster }) => ({ ReactNativeWebView: poster }),
};

async function shown(): Promise<void> {
  const asked = app.next("needToken");
  app.say({ type: "configure" });
  await asked;
  const revealed = app.next("revealed");
  app.say({ type: "token", token: TOKEN });
  await revealed;
}

beforeEach(() => open(SURFACES["React Native's"]!));

describe("an update by the app", () => {
  it("changes looks and words without another token", async () => {
    await shown();
    app.say({ type: "update", locale: "de", labels: { hide: "Weg" }, hideAfter: 30 });
    await new Promise((done) => setTimeout(done));
    expect(root.textContent).toContain("Weg");
    expect(root.textContent).toContain("Noch 30 s");
    expect(app.types.filter((type) => type === "needToken")).toHaveLength(1);
    expect(world.redeems).toHaveLength(1);
  });

  it.each<[string, object]>([
    ["fields", { fields: ["cvv"] }],
    ["masked", { locale: "de", masked: [] }],
    ["token", { token: TOKEN }],
    ["hideAfter", { hideAfter: 301 }],
    ["appearance", { labels: { hide: "Weg" }, appearance: { css: 1, theme: "neon" } }],
  ])("of %s is refused, and nothing changes", async (option, change) => {
    await shown();
    const before = root.innerHTML;
    app.say({ type: "update", ...change });
    expect(app.heard.at(-1)).toMatchObject({
      type: "error",
      code: "bad_option",
      message: expect.stringContaining(`"${option}"`),
    });
    expect(root.innerHTML).toBe(before);
  });
});

describe.each(Object.entries(SURFACES))("over %s bridge", (_, surface) => {
  it("says hello, and shows the card with the token that the app brings", async () => {
    open(surface);
    expect(app.heard).toEqual([{ cardveil: 1, type: "hello" }]);
    await shown();
    expect(root.textContent).toContain("4111");
    expect(app.types).toEqual(["hello", "ready", "needToken", "revealed"]);
    app.say({ type: "hide" });
    expect(root.textContent).not.toContain("4111");
    expect(app.types.at(-1)).toBe("hidden");
  });
});

it("hears Android's answers as texts", async () => {
  open(SURFACES["Android's and Flutter's"]!);
  const asked = app.next("needToken");
  app.surface.cardveilApp?.onmessage?.({ data: '{"type":"configure"}' });
  await asked;
});

it("sends not a digit over the bridge, whatever is done with the card", async () => {
  await shown();
  root.querySelector<HTMLElement>("[data-testid=cardveil-copy-pan]")?.click();
  await app.next("copied");
  const cvv = app.next("revealed");
  root.querySelector<HTMLElement>("[data-testid=cardveil-show-cvv]")?.click();
  await cvv;
  app.say({ type: "hide" });
  app.say({ type: "reveal" });
  app.say({ type: "destroy" });
  expect(world.clipboard).toEqual([CARD.pan]);
  const sent = JSON.stringify(app.heard.filter(({ type }) => type !== "hello"));
  expect(sent).not.toMatch(/\d/);
  for (const message of app.heard.filter(({ type }) => type !== "hello" && type !== "ready")) {
    expect(parseForPage(message as unknown as ForPage)).toEqual(message);
  }
});

it("shows nothing without an app around it", () => {
  open(() => ({}));
  expect(root.textContent).toContain("This page may not show your card");
});

it("names an option that is wrong, and takes a right one after it", async () => {
  for (const [options, named] of [
    [{ hideAfter: 1 }, "hideAfter"],
    [{ fields: ["pan", "pin"] }, "fields"],
    [{ feilds: ["pan"] }, "feilds"],
    [{ group: "0123456789abcdef" }, "group"],
    [{ token: TOKEN }, "token"],
  ] as const) {
    app.say({ type: "configure", ...options });
    expect(app.heard.at(-1)).toMatchObject({
      type: "error",
      code: "bad_option",
      message: expect.stringContaining(`"${named}"`),
    });
  }
  expect(app.begun).toEqual([]);
  const asked = app.next("needToken");
  app.say({ type: "configure", fields: ["pan"], hideAfter: 30, appearance: { theme: "dark" } });
  await asked;
  expect(app.begun[0]?.[1]).toMatchObject({
    fields: ["pan"],
    hideAfter: 30,
    appearance: { theme: "dark" },
    copy: ["pan"],
  });
});

it("passes over what is no message", () => {
  for (const message of [
    "",
    "{",
    "null",
    null,
    7,
    [],
    {},
    { type: "token", token: TOKEN },
    { type: "constructor" },
  ])
    app.say(message);
  expect(app.types).toEqual(["hello"]);
});

it("lets nothing else take the place through which the app speaks", () => {
  expect(() => Object.assign(app.surface, { cardveil: undefined })).toThrow(TypeError);
  expect(Object.isFrozen(app.surface.cardveil)).toBe(true);
});

it("says so when the app stays silent", () => {
  expect(root.textContent).not.toContain("could not be opened");
  world.advance(9_999);
  expect(root.textContent).not.toContain("could not be opened");
  world.advance(1);
  expect(root.textContent).toContain("could not be opened");
});

it("waits thirty seconds for a token, and takes no for an answer", async () => {
  const asked = app.next("needToken");
  app.say({ type: "configure" });
  await asked;
  const failed = app.next("error");
  world.advance(29_999);
  expect(app.types.at(-1)).toBe("needToken");
  world.advance(1);
  expect(await failed).toMatchObject({ code: "token_failed" });
  const again = app.next("needToken");
  root.querySelector<HTMLElement>("[data-testid=cardveil-retry]")?.click();
  await again;
  const refused = app.next("error");
  app.say({ type: "noToken" });
  expect(await refused).toMatchObject({ code: "token_failed" });
});

it("gives a second question its own thirty seconds", async () => {
  const asked = app.next("needToken");
  app.say({ type: "configure" });
  await asked;
  world.advance(20_000);
  app.say({ type: "hide" });
  const again = app.next("needToken");
  app.say({ type: "reveal" });
  await again;
  const outcome = Promise.race([app.next("revealed"), app.next("error")]);
  world.advance(29_999);
  app.say({ type: "token", token: TOKEN });
  expect(await outcome).toMatchObject({ type: "revealed" });
});
