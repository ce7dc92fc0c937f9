/**
 * What a page can leave lying about where the SDK looks, without a script of its own in it: data on
 * `Object.prototype`, as a merge of somebody's JSON puts it there, and elements named after what
 * the SDK uses. What the document of these tests would itself fall over is in
 * e2e/tests/hostile.e2e.ts.
 *
 * Counts as a failure: a frame at another origin or embed, or with other options, than the caller
 * said; a token that goes anywhere else; a card that does not come.
 */
import nodeConsole from "node:console";
import { connect, hello } from "@cardveil/protocol";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CardAppearance, CardOptions, CardveilOptions, PartOptions } from "../src/api.ts";
import { cardveilFrom } from "../src/cardveil.ts";

const OURS = "https://cards.example.com";
const SCRIPT = `${OURS}/sdk/v1/cardveil.js`;
const EVIL = "https://evil.example";
const TOKEN = "cvt_test_1";

let restore: (() => void)[] = [];

beforeEach(() => {
  vi.spyOn(nodeConsole, "error").mockImplementation(() => {});
  vi.spyOn(console, "error").mockImplementation(() => {});
  document.body.innerHTML = '<div id="card"></div>';
});
afterEach(() => {
  for (const undo of restore.splice(0)) undo();
});

function define(on: object, name: PropertyKey, descriptor: PropertyDescriptor): void {
  const before = Object.getOwnPropertyDescriptor(on, name);
  // Without what a polluted prototype would add to it.
  Object.defineProperty(
    on,
    name,
    Object.assign(Object.create(null), { configurable: true, ...descriptor }),
  );
  restore.unshift(() => {
    if (before === undefined) Reflect.deleteProperty(on, name);
    else Object.defineProperty(on, name, Object.assign(Object.create(null), before));
  });
}
const pollute = (name: string, value: unknown) =>
  define(Object.prototype, name, { value, writable: true });
const clobber = (on: object, name: string) =>
  define(on, name, { value: document.createElement("form"), writable: true });

interface Life {
  addresses: (string | null)[];
  said: Record<string, unknown>[];
  handshake: string | undefined;
}

/** A whole life: mounted, greeted, asked for its token. */
async function live(
  place: CardveilOptions,
  options: CardOptions,
  part?: PartOptions,
  script: string | undefined = SCRIPT,
): Promise<Life> {
  const card = cardveilFrom(script)(place).card(options);
  restore.push(() => card.destroy());
  if (part === undefined) card.mount("#card");
  else card.mount("#card", "pan", part);
  const find = Document.prototype.querySelectorAll.bind(
    document,
  ) as typeof document.querySelectorAll;
  const frames = [...find("iframe")];
  const said: Record<string, unknown>[] = [];
  let handshake: string | undefined;
  for (const frame of frames) {
    const origin = new URL(String(frame.getAttribute("src"))).origin;
    const contentWindow = {
      postMessage(message: ReturnType<typeof connect>, to: string, [port]: [MessagePort]) {
        handshake = to;
        port.onmessage = ({ data }) => {
          said.push(data);
          if (data.type === "configure" || data.type === "part")
            port.postMessage({ type: "ready", nonce: message.nonce, title: "Your card" });
          if (data.type === "reveal") port.postMessage({ type: "needToken" });
        };
      },
    };
    define(frame, "contentWindow", { value: contentWindow });
    window.dispatchEvent(
      Object.assign(new Event("message"), { source: contentWindow, origin, data: hello() }),
    );
  }
  await vi.waitFor(() =>
    expect(said.some(({ type }) => type === "token" || type === "noToken")).toBe(true),
  );
  return { addresses: frames.map((frame) => address(frame)), said, handshake };
}

/** But for its colour scheme, which this document cannot work out. */
const address = (frame: Element | null) =>
  frame?.getAttribute("src")?.replace(/&scheme=\w+$/, "") ?? null;

const of = ({ said }: Life, type: string) => said.find((message) => message["type"] === type);

/** Every option of every entry, and what a stranger would like it to be. */
const WISHES: [string, unknown][] = [
  ["clientUrl", EVIL],
  ["embed", "emb_evil"],
  ["token", "cvt_test_evil"],
  ["fields", ["cvv"]],
  ["appearance", { theme: "dark", accent: "#000000" }],
  ["masked", false],
  ["locale", "fr"],
  ["hideAfter", 300],
  ["copy", ["cvv"]],
  ["labels", { hide: "Evil" }],
  ["title", "Evil"],
  ["timeouts", { frame: 5, token: 5 }],
  ["frame", "120"],
  ["transparent", true],
  ["theme", "dark"],
  ["accent", "#000000"],
  ["radius", 32],
  ["font", "evil"],
  ["design", "evil"],
  ["colors", { ink: "#000000" }],
  ["text", { color: "#000000", fontSize: 8 }],
  ["color", "#000000"],
  ["fontSize", 8],
  ["ink", "#000000"],
  ["hide", "Evil"],
  ["unreachable", "Evil"],
  ["group", "evil-group-of-somebody"],
  ["renewable", false],
  ["origin", EVIL],
  ["frameUrl", `${EVIL}/embed/emb_1`],
  ["place", { origin: EVIL }],
  ["part", "copy-pan"],
  ["type", "destroy"],
  ["cardveil", 2],
  ["nonce", "n-of-somebody-else-0000"],
  // What browsers read from the dictionaries of their own calls and definitions.
  ["once", true],
  ["passive", true],
  ["capture", true],
  ["then", "text"],
  ["toJSON", "text"],
  ["scheme", "dark"],
  ["characterData", true],
];

describe("data on Object.prototype", () => {
  it.each(WISHES)("changes nothing: %s", async (name, value) => {
    const clean = JSON.stringify(
      (
        await live(
          { embed: "emb_1" },
          { token: TOKEN, appearance: { text: {}, colors: {} }, labels: {} },
        )
      ).said,
    );
    for (const undo of restore.splice(0)) undo();
    document.body.innerHTML = '<div id="card"></div>';
    pollute(name, value);
    const life = await live(
      { embed: "emb_1" },
      { token: TOKEN, appearance: { text: {}, colors: {} }, labels: {} },
    );
    expect(life.addresses).toEqual([`${OURS}/embed/emb_1?lang=en&as=card`]);
    expect(life.handshake).toBe(OURS);
    expect(JSON.stringify(life.said)).toBe(clean);
    expect(of(life, "token")).toEqual({ type: "token", token: TOKEN });
  });

  it.each(WISHES)("changes nothing of a part: %s", async (name, value) => {
    pollute(name, value);
    const { addresses, said } = await live({ embed: "emb_1" }, { token: TOKEN }, {});
    expect(addresses).toEqual(
      ["holder", "part"].map((as) => `${OURS}/embed/emb_1?lang=en&as=${as}`).reverse(),
    );
    const part = said.find(({ type }) => type === "part");
    const group = said.find(({ type }) => type === "configure")?.["group"];
    expect(group).not.toBe("evil-group-of-somebody");
    expect(part).toEqual({
      type: "part",
      group,
      masked: false,
      part: "pan",
      locale: "en",
      labels: {},
      transparent: false,
      appearance: { theme: "auto" },
    });
  });

  it("is no place, and no token, for a caller that names none", () => {
    pollute("clientUrl", EVIL);
    pollute("embed", "emb_evil");
    pollute("token", "cvt_test_evil");
    const code = expect.objectContaining({ code: "bad_option" });
    expect(() => cardveilFrom(undefined)({ embed: "emb_1" })).toThrow(code);
    expect(() => cardveilFrom(SCRIPT)({} as CardveilOptions)).toThrow(code);
    expect(() => cardveilFrom(SCRIPT)({ embed: "emb_1" }).card({} as CardOptions)).toThrow(code);
  });
});

describe("an update", () => {
  it.each(WISHES)("takes nothing from Object.prototype: %s", async (name, value) => {
    const card = cardveilFrom(SCRIPT)({ embed: "emb_1" }).card({ token: TOKEN, locale: "en" });
    restore.push(() => card.destroy());
    const told: { type: string }[] = [];
    card.mount("#card");
    const [frame] = document.querySelectorAll("iframe") as unknown as [HTMLIFrameElement];
    const contentWindow = {
      postMessage: (_: unknown, __: string, [port]: [MessagePort]) =>
        (port.onmessage = ({ data }) => told.push(data)),
    };
    define(frame, "contentWindow", { value: contentWindow });
    window.dispatchEvent(
      Object.assign(new Event("message"), { source: contentWindow, origin: OURS, data: hello() }),
    );
    pollute(name, value);
    card.update({ appearance: {} });
    card.update({ title: "Card" });
    await vi.waitFor(() => expect(told.filter(({ type }) => type === "update")).toHaveLength(2));
    const settings = {
      appearance: { theme: "auto" },
      locale: "en",
      labels: {},
      hideAfter: 60,
      copy: ["pan"],
    };
    expect(told.filter(({ type }) => type === "update")).toEqual([
      { type: "update", ...settings },
      { type: "update", ...settings },
    ]);
  });
});

describe("the origin that served the SDK", () => {
  it("comes before a clientUrl, which is told", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const { addresses, handshake } = await live(
      { embed: "emb_1", clientUrl: EVIL },
      { token: TOKEN },
    );
    expect(addresses).toEqual([`${OURS}/embed/emb_1?lang=en&as=card`]);
    expect(handshake).toBe(OURS);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining(OURS));
  });

  it.each([
    undefined,
    "https://shop.example/assets/app.js",
    `${location.origin}/sdk/v1/cardveil.js`,
    `${EVIL}/sdk/v1/../../other.js`,
  ])("comes after it where it is not Cardveil's: %s", async (script) => {
    const { addresses } = await live(
      { embed: "emb_1", clientUrl: OURS },
      { token: TOKEN },
      undefined,
      script ?? "file:///app.js",
    );
    expect(addresses).toEqual([`${OURS}/embed/emb_1?lang=en&as=card`]);
  });
});

describe("an element that is named after", () => {
  it.each([
    "createElement",
    "querySelector",
    "getElementById",
    "body",
    "addEventListener",
    "currentScript",
  ])("document.%s turns no card off", async (name) => {
    clobber(document, name);
    expect(of(await live({ embed: "emb_1" }, { token: TOKEN }), "token")).toEqual({
      type: "token",
      token: TOKEN,
    });
    expect(of(await live({ embed: "emb_1" }, { token: TOKEN }, {}), "token")).toEqual({
      type: "token",
      token: TOKEN,
    });
  });

  it.each(["append", "after", "addEventListener"])(
    "a form's %s turns no card off that is put into the form",
    async (name) => {
      document.body.innerHTML = '<form id="card"></form>';
      clobber(document.querySelector("form") as HTMLFormElement, name);
      expect(of(await live({ embed: "emb_1" }, { token: TOKEN }), "token")).toEqual({
        type: "token",
        token: TOKEN,
      });
    },
  );

  it("Cardveil does not stand in the way of the classic script", async () => {
    clobber(window, "Cardveil");
    pollute("Cardveil", "text");
    clobber(document, "currentScript");
    pollute("adoptedCallback", "text");
    pollute("connectedMoveCallback", "text");
    pollute("disabledFeatures", 1);
    const script = Object.assign(document.createElement("script"), {
      type: "inert",
      src: `${OURS}/sdk/v1/cardveil.iife.js`,
    });
    vi.spyOn(Document.prototype, "currentScript", "get").mockReturnValue(script);
    await import("../src/iife.ts");
    restore.push(() => Reflect.deleteProperty(window, "Cardveil"));
    expect(window.Cardveil).toBeTypeOf("function");
    const card = window.Cardveil?.({ embed: "emb_1" }).card({ token: TOKEN });
    card?.mount("#card");
    expect(address(document.querySelector("iframe"))).toBe(`${OURS}/embed/emb_1?lang=en&as=card`);
    card?.destroy();
    expect(customElements.get("cardveil-card")).toBeDefined();
  });
});

describe("an option that answers another thing each time", () => {
  it("is asked once", async () => {
    const asked: Record<string, number> = {};
    const turning = <T extends object>(first: T, then: Partial<T>): T => {
      const options = {} as T;
      for (const name of Object.keys(first) as (keyof T & string)[]) {
        define(options, name, {
          enumerable: true,
          get: () => ((asked[name] = (asked[name] ?? 0) + 1) === 1 ? first[name] : then[name]),
        });
      }
      return options;
    };
    const place = turning<CardveilOptions>(
      { embed: "emb_1", clientUrl: OURS },
      { embed: "emb_evil", clientUrl: EVIL },
    );
    const options = turning<CardOptions>(
      {
        token: TOKEN,
        fields: ["pan"],
        appearance: turning<CardAppearance>({ theme: "dark" }, { theme: "light" }),
        title: "Card",
        locale: "de",
      },
      { token: "cvt_test_evil", fields: ["cvv"], appearance: {}, title: "Evil", locale: "fr" },
    );
    const life = await live(place, options, undefined, "https://shop.example/app.js");
    expect(life.addresses).toEqual([`${OURS}/embed/emb_1?lang=de&as=card`]);
    expect(of(life, "token")).toEqual({ type: "token", token: TOKEN });
    expect(of(life, "configure")).toMatchObject({
      fields: ["pan"],
      appearance: { theme: "dark" },
      locale: "de",
    });
    for (const [name, times] of Object.entries(asked)) expect([name, times]).toEqual([name, 1]);
  });
});
