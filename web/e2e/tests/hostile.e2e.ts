/**
 * A page that wants the digits: each way is one test.
 *
 * Counts as a failure: a digit of the card in anything that the page can read; a script that runs,
 * in the page or in the frame, where a text was expected; a message that does something in a frame
 * that is not its sender's; a cardholder who loses their card over it.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connect, LABELS, VERSION } from "../../protocol/src/index.ts";
import { type Browser, launch } from "../src/browsers/index.ts";
import { Cardholder, press } from "../src/cardholder.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { loot, takeOver } from "../src/raid.ts";

let demo: Demo;
let browser: Browser;
let ada: Cardholder;
let visa: string;
let frameUrl: string;
/** What the SDK tells a frame first. */
let configure: unknown;
const PAN = "4111111111111111";
/** The first eight digits, whatever stands between them. */
const DIGITS = /4\D{0,3}(1\D{0,3}){7}/;
const SCRIPT = `"'><img src=x onerror="parent.raid.ran++"><script>parent.raid.ran++</script>`;

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
  visa =
    demo.cards.find(({ last_four, state }) => last_four === "1111" && /^active$/i.test(state))
      ?.card_no ?? "";
  frameUrl = `${demo.client_url}/embed/${demo.embed}`;
  await arrive();
  await shown();
  configure = await ada.page.evaluate(() =>
    window.raid.sent.find(({ type }) => type === "configure"),
  );
  await leave();
});

afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});

async function arrive(): Promise<void> {
  ada = await Cardholder.arrive(browser, demo);
  await takeOver(ada);
}

async function gotNothing(): Promise<void> {
  expect(await loot(ada)).not.toMatch(DIGITS);
  expect(await ada.page.evaluate(() => window.raid.ran)).toBe(0);
}

async function leave(): Promise<void> {
  try {
    await gotNothing();
  } finally {
    await ada.leave();
  }
}

/** In one window, which no test does anything to but by its page. */
function eachOnItsOwnPage(): void {
  beforeAll(async () => {
    ada = await Cardholder.arrive(browser, demo);
  });
  beforeEach(async () => {
    await ada.arriveAgain();
    await takeOver(ada);
  });
  afterEach(gotNothing);
  afterAll(() => ada.leave());
}

/** The card and its CVV are on the screen. */
async function shown(): Promise<void> {
  await ada.show(visa);
  await ada.in("show-cvv").click();
  await ada.in("cvv").waitFor();
}

/** The card is still the cardholder's to see and to hide. */
async function undisturbed(): Promise<void> {
  expect(await ada.in("pan").textContent()).toBe(PAN);
  await ada.in("hide").click();
  await ada.in("show").waitFor();
  expect(await ada.frameText()).not.toMatch(DIGITS);
}

describe("a look into the frame", () => {
  // One card for all of them: they only look.
  beforeAll(async () => {
    await arrive();
    await shown();
  });
  afterAll(async () => {
    await undisturbed();
    await leave();
  });

  it.each<[string, (frame: HTMLIFrameElement) => unknown]>([
    ["contentDocument", (frame) => frame.contentDocument],
    ["getSVGDocument", (frame) => frame.getSVGDocument()],
    ["contentWindow.document", (frame) => frame.contentWindow?.document],
    ["frames[0].document", () => window.frames[0]?.document],
    [
      "named access",
      (frame) => {
        frame.name = "loot";
        return (window as unknown as { loot: Window }).loot.document;
      },
    ],
    ["its address", (frame) => frame.contentWindow?.location.href],
    ["its name", (frame) => frame.contentWindow?.name],
    ["its storage", (frame) => frame.contentWindow?.localStorage],
    ["its selection", (frame) => frame.contentWindow?.getSelection()],
    [
      "its eval",
      (frame) =>
        (frame.contentWindow as unknown as typeof globalThis).eval("document.body.innerText"),
    ],
    ["its performance", (frame) => frame.contentWindow?.performance.getEntries()],
    [
      "find in it",
      (frame) => (frame.contentWindow as unknown as { find(text: string): boolean }).find("4111"),
    ],
    ["a handler in it", (frame) => ((frame.contentWindow as Window).onkeydown = () => undefined)],
    [
      "a global of it",
      (frame) => Object.assign(frame.contentWindow as object, { JSON: undefined }),
    ],
    [
      "its descriptors",
      (frame) =>
        Object.getOwnPropertyDescriptor(frame.contentWindow, "document")?.get?.call(
          frame.contentWindow,
        ),
    ],
  ])("gets nothing by %s", async (_, look) => {
    const got = await ada.page
      .evaluate(
        `
      const look = ${look};
      window.got = (() => { try { return String(look(document.querySelector("[data-testid=cardveil-frame]"))); } catch (error) { return error.name; } })();
    `,
      )
      .then(() => ada.page.evaluate(() => (window as unknown as { got: string }).got));
    expect(["null", "undefined", "SecurityError", "TypeError"]).toContain(got);
    expect(await ada.in("pan").textContent()).toBe(PAN);
  });

  it("gets nothing by what can be asked of any window: its length, its names, its keys", async () => {
    const got = await ada.page.evaluate(() => {
      const frame = (document.querySelector("[data-testid=cardveil-frame]") as HTMLIFrameElement)
        .contentWindow as Window;
      return [
        frame.length,
        frame.closed,
        JSON.stringify(
          Object.getOwnPropertyNames(frame)
            .filter((name) => !/^\d+$/.test(name))
            .sort(),
        ),
      ];
    });
    const names = [
      "blur",
      "close",
      "closed",
      "focus",
      "frames",
      "length",
      "location",
      "opener",
      "parent",
      "postMessage",
      "self",
      "then",
      "top",
      "window",
    ];
    expect(got).toEqual([0, false, JSON.stringify(names)]);
  });
});

describe("a message to the frame", () => {
  eachOnItsOwnPage();

  const FAKES: [string, unknown][] = [
    ["another version", { ...connect("n-of-the-raider-0000"), cardveil: VERSION + 1 }],
    ["the version as a text", { ...connect("n-of-the-raider-0000"), cardveil: String(VERSION) }],
    ["no version", { type: "connect", nonce: "n-of-the-raider-0000" }],
    ["another type", { cardveil: VERSION, type: "hello" }],
    ["a nonce of one letter", connect("n")],
    ["a nonce that is an object", { ...connect(""), nonce: { toString: "n-of-the-raider-0000" } }],
    ["a text", JSON.stringify(connect("n-of-the-raider-0000"))],
    ["a list", [connect("n-of-the-raider-0000")]],
    ["nothing", null],
  ];
  // What is passed on is JSON, which has a prototype as a name.
  const fakes = FAKES.map(([name, fake]): [string, string] => [name, JSON.stringify(fake)]);
  fakes.push([
    "everything on a prototype",
    `{"__proto__": ${JSON.stringify(connect("n-of-the-raider-0000"))}}`,
  ]);

  it.each(fakes)("is not taken for a handshake: %s", async (_, fake) => {
    const taken = await ada.page.evaluate(
      async ({ frameUrl, fake, configure }) => {
        const frame = (await window.raid.open(frameUrl)).contentWindow as Window;
        return window.raid.taken(configure, [
          window.raid.connect(frame, JSON.parse(fake)),
          window.raid.connect(frame),
        ]);
      },
      { frameUrl, fake, configure },
    );
    expect(taken).toBe(1);
  });

  it("is not taken for a handshake without a port", async () => {
    const taken = await ada.page.evaluate(
      async ({ frameUrl, greeting, configure }) => {
        const frame = (await window.raid.open(frameUrl)).contentWindow as Window;
        frame.postMessage(greeting, "*");
        return window.raid.taken(configure, [window.raid.connect(frame)]);
      },
      { frameUrl, greeting: connect("n-of-the-raider-0000"), configure },
    );
    expect(taken).toBe(0);
  });

  it("is not taken for a handshake from another frame of the same page", async () => {
    const script = `
      const { port1, port2 } = new MessageChannel();
      port1.start();
      parent.document.querySelector("[data-testid=raided]").contentWindow.postMessage(${JSON.stringify(connect("n-of-the-raider-0000"))}, "*", [port2]);
      parent.sibling(port1);`;
    ada.wire.fault(/^\/sibling\.js$/, async () => ({
      status: 200,
      headers: { "content-type": "text/javascript" },
      body: Buffer.from(script),
    }));
    const taken = await ada.page.evaluate(
      async ({ frameUrl, configure }) => {
        const { contentWindow } = await window.raid.open(frameUrl);
        const sibling = document.createElement("iframe");
        sibling.srcdoc = `<script src="/sibling.js"></script>`;
        const its = await new Promise<MessagePort>((gave) => {
          Object.assign(window, { sibling: gave });
          document.body.append(sibling);
        });
        return window.raid.taken(configure, [its, window.raid.connect(contentWindow as Window)]);
      },
      { frameUrl, configure },
    );
    expect(taken).toBe(1);
  });

  it("does nothing after the handshake: a second connect, with a port of the raider's", async () => {
    await shown();
    await ada.page.evaluate(() => {
      const frame = (document.querySelector("[data-testid=cardveil-frame]") as HTMLIFrameElement)
        .contentWindow as Window;
      const port = window.raid.connect(frame);
      for (const message of [...window.raid.sent]) port.postMessage(message);
      for (const type of ["reveal", "hide", "destroy"]) port.postMessage({ type });
    });
    await undisturbed();
    expect(
      await ada.page.evaluate(() =>
        window.raid.told.filter((text) => text.includes("n-of-the-raider")),
      ),
    ).toEqual([]);
  });

  it("does nothing by a port that served an earlier frame", async () => {
    await shown();
    await press(ada.by("close-card"));
    await shown();
    const before = await ada.page.evaluate(() => {
      const [old] = window.raid.ports;
      for (const message of [...window.raid.sent]) old?.postMessage(message);
      for (const type of ["hide", "destroy", "reveal"]) old?.postMessage({ type });
      return window.raid.ports.length;
    });
    expect(before).toBe(2);
    await undisturbed();
  });

  it("does nothing when what it says is on a prototype, or is a name that every object has", async () => {
    await shown();
    await ada.page.evaluate(() => {
      const [port] = window.raid.ports;
      const post = (message: unknown) => port?.postMessage(message);
      for (const type of ["hide", "destroy"]) {
        post(JSON.parse(`{"__proto__": {"type": "${type}"}}`));
        post(Object.create({ type }));
        post({ constructor: { type }, prototype: { type } });
        post([type]);
        post(type);
        post({ type: [type] });
        post(new Map([["type", type]]));
      }
      for (const type of ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", ""])
        post({ type });
      post({ type: "token", token: "x".repeat(1_000_000) });
      post({ type: "error", code: "internal", message: "m", retryable: true });
      post(null);
      post(undefined);
    });
    await undisturbed();
  });

  it("in the raider's own hands gets a card shown to the cardholder, and still not a digit", async () => {
    const token = await ada.token(visa);
    const types = await ada.page.evaluate(
      async ({ frameUrl, token, configure }) => {
        const element = await window.raid.open(frameUrl);
        element.scrollIntoView();
        const port = window.raid.connect(element.contentWindow as Window);
        const ready = window.raid.until(port, "ready");
        port.postMessage(configure);
        await ready;
        const needed = window.raid.until(port, "needToken");
        port.postMessage({ type: "reveal" });
        await needed;
        const ended = window.raid.until(port, "revealed", "error");
        port.postMessage({ type: "token", token });
        return ended;
      },
      { frameUrl, token, configure },
    );
    expect(types).toBe("revealed");
    for (const text of await ada.page.evaluate(() => window.raid.told)) {
      // A nonce is the page's own; a height is of the frame.
      expect(text.replace(/"nonce":"[^"]*"|"(height|baseline)":[\d.]+/g, "")).not.toMatch(/\d{3}/);
    }
  });
});

describe("a page that is not what it should be", () => {
  eachOnItsOwnPage();

  it("gets nothing by fetching the frame's address, or by opening it as a page", async () => {
    expect(
      await ada.page.evaluate(
        (url) =>
          fetch(url).then(
            (answer) => answer.text(),
            (error) => error.name,
          ),
        frameUrl,
      ),
    ).toBe("TypeError");
    await ada.page.goto(frameUrl);
    expect(await ada.page.content()).toContain("cannot be opened by itself");
    await ada.open();
    await takeOver(ada);
  });

  it("gets no frame on an origin that is not registered, with the SDK or without", async () => {
    await ada.open(demo.shop_url.replace("localhost", "127.0.0.1"));
    await takeOver(ada);
    const token = await ada.token(visa);
    const told = await ada.mount({ token }, "revealed", "error");
    expect(told.at(-1)).toMatchObject({ event: "error", code: "frame_blocked" });
    await ada.page.evaluate(async (frameUrl) => {
      const frame = await window.raid.open(frameUrl);
      window.raid.connect(frame.contentWindow as Window).postMessage({ type: "reveal" });
    }, frameUrl);
    expect(
      await ada.page.evaluate(() => [
        window.raid.told,
        window.raid.heard.filter((text) => text.includes("hello")),
      ]),
    ).toEqual([[], []]);
    expect(ada.redeems).toEqual([]);
  });

  it.each(["allow-scripts", "allow-scripts allow-forms allow-popups"])(
    "gets no card in a frame that it put into a sandbox: %s",
    async (sandbox) => {
      const token = await ada.token(visa);
      await ada.page.evaluate(
        async ({ frameUrl, token, sandbox, configure }) => {
          const frame = (await window.raid.open(frameUrl, sandbox)).contentWindow as Window;
          const port = window.raid.connect(frame);
          for (const message of [configure, { type: "reveal" }, { type: "token", token }])
            port.postMessage(message);
        },
        { frameUrl, token, sandbox, configure },
      );
      // The same token is good afterwards: nobody spent it.
      const told = await ada.mount({ token }, "revealed", "error");
      expect(told.at(-1)).toMatchObject({ event: "revealed" });
      expect(
        ada.wire.exchanges.filter(
          ({ url, status }) => url.pathname === "/client/v1/redeem" && status === 200,
        ),
      ).toHaveLength(1);
    },
  );

  it("changes nothing in the frame by what it did to its own built-ins", async () => {
    await ada.page.evaluate(() => {
      Object.assign(Object.prototype, {
        type: "destroy",
        cardveil: 1,
        pan: "pan",
        token: "stolen",
      });
      const { parse } = JSON;
      JSON.parse = (text, ...rest) => (window.raid.heard.push(String(text)), parse(text, ...rest));
      const { subtle } = crypto;
      subtle.decrypt = () => Promise.reject(new Error("stolen"));
      const { map } = Array.prototype;
      Array.prototype.map = function (this: unknown[], ...args: Parameters<typeof map>) {
        window.raid.heard.push(String(this));
        return map.apply(this, args);
      } as typeof map;
      const { fetch } = window;
      window.fetch = async (...args) => {
        const answer = await fetch(...args);
        window.raid.heard.push(await answer.clone().text());
        return answer;
      };
    });
    await shown();
    await undisturbed();
  });

  it.each([
    ["an overlay", "opacity: 0.01; position: fixed; inset: 0"],
    ["a huge frame", "width: 30000px !important; height: 30000px !important"],
    ["a frame of one pixel", "width: 1px !important; height: 1px !important"],
    ["a filter", "filter: contrast(10) blur(1px); mix-blend-mode: difference"],
    ["a transformation", "transform: scale(40) translate(-30%, -40%)"],
  ])("learns nothing more by %s", async (_, style) => {
    await shown();
    await ada.page.evaluate((style) => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(`iframe { ${style} }`);
      document.adoptedStyleSheets = [sheet];
    }, style);
    const heights = await ada.page.evaluate(async () => {
      await new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted)));
      return window.raid.told
        .map((text) => JSON.parse(text))
        .filter(({ type }) => type === "size")
        .map(({ height }) => height);
    });
    expect(heights.length).toBeGreaterThan(0);
    for (const height of heights) expect(height).toSatisfy((px: number) => px > 0 && px <= 2000);
    await ada.page.evaluate(() => void (document.adoptedStyleSheets = []));
    await undisturbed();
  });
});

describe("what a page leaves lying about", () => {
  eachOnItsOwnPage();
  const EVIL = "https://evil.example";

  type Way = "module" | "classic" | "element" | "parts" | "marqeta";
  interface Scene {
    client_url: string;
    embed: string;
    token: string;
    way: Way;
  }

  /**
   * What the page runs, with the mischief in its source: the page's own policy lets no text be
   * evaluated there.
   */
  const doing = <R>(mischief: string, run: (scene: Scene, misbehave: () => void) => Promise<R>) =>
    new Function("scene", `return (${run})(scene, () => { ${mischief} });`) as (
      scene: Scene,
    ) => Promise<R>;

  /** A card of the shop's page after some mischief: what its frames are, and what became of it. */
  const after = async (mischief: string, way: Way = "module") => {
    const token = await ada.token(visa);
    return ada.page.evaluate(
      doing(mischief, async ({ client_url, embed, token, way }: Scene, misbehave: () => void) => {
        const file =
          way === "marqeta"
            ? "marqeta.js"
            : way === "classic" || way === "element"
              ? "cardveil.iife.js"
              : "cardveil.js";
        // Before the mischief, which may be with what a test needs.
        const { load, createElement, body, head } = {
          load: window.load,
          createElement: document.createElement.bind(document),
          body: document.body,
          head: document.head,
        };
        const place = body.appendChild(createElement("div"));
        place.id = "place";
        // Out of view a card waits.
        place.style.cssText = "position: fixed; top: 0; left: 0; width: 424px; z-index: 99";
        const all = Document.prototype.querySelectorAll.bind(
          document,
        ) as typeof document.querySelectorAll;
        const before = [Object.prototype, Array.prototype, String.prototype].map(
          (shared) => [shared, new Set(Reflect.ownKeys(shared))] as const,
        );
        const settled = new Promise<string>((done) => {
          misbehave();
          const told = (event: string) => (detail?: { code?: string; message?: string }) =>
            done(
              [event, detail?.code, detail?.message].filter((part) => part !== undefined).join(" "),
            );
          const go = async () => {
            if (file === "cardveil.js") {
              const { Cardveil } = await load(`${client_url}/sdk/v1/${file}`);
              const card = Cardveil({ embed }).card({ token });
              card.on("revealed", () => told("revealed")());
              card.on("error", told("error"));
              if (way === "parts") card.mount("#place", "pan");
              else card.mount("#place");
              return;
            }
            const script = createElement("script");
            script.src = `${client_url}/sdk/v1/${file}`;
            script.setAttribute("data-embed", embed);
            const loaded = new Promise((ran) => (script.onload = ran));
            Element.prototype.append.call(head, script);
            await loaded;
            if (way === "marqeta") {
              window.marqeta?.bootstrap({
                clientAccessToken: token,
                showPan: { cardPan: { domId: "place" } },
                callbackEvents: { onSuccess: () => told("revealed")(), onFailure: told("error") },
              });
            } else if (way === "classic") {
              const card = window.Cardveil?.({ embed }).card({ token });
              card?.on("revealed", () => told("revealed")());
              card?.on("error", told("error"));
              card?.mount("#place");
            } else {
              const element = createElement("cardveil-card");
              element.setAttribute("embed", embed);
              element.setAttribute("token", token);
              element.addEventListener("revealed", () => told("revealed")());
              element.addEventListener("error", (event) =>
                told("error")((event as unknown as CustomEvent).detail),
              );
              Element.prototype.append.call(place, element);
            }
          };
          go().catch((error) => done(`thrown ${error}`));
        });
        const ended = await settled;
        // What drives the browser would stumble over it.
        for (const [shared, names] of before)
          for (const name of Reflect.ownKeys(shared))
            if (!names.has(name)) Reflect.deleteProperty(shared, name);
        for (const named of all("[data-mischief]")) Element.prototype.remove.call(named);
        return [
          ended,
          [...all("iframe")].map(
            (frame) => new URL(frame.src).origin + new URL(frame.src).pathname,
          ),
        ] as const;
      }),
      { client_url: demo.client_url, embed: demo.embed, token, way },
    );
  };

  const data = (members: object) => `Object.assign(Object.prototype, ${JSON.stringify(members)});`;
  const OPTIONS = data({
    clientUrl: EVIL,
    embed: "emb_evil",
    token: "cvt_test_evil",
    fields: ["cvv"],
    copy: ["cvv"],
    transparent: true,
    origin: EVIL,
    frameUrl: EVIL,
    showPan: {},
    component: {},
    callbackEvents: {},
    domId: "card",
    mode: "transparent",
  });
  // Each of these the browser reads of an object that is given to it, or of what is defined.
  const DICTIONARIES = data({
    once: true,
    passive: true,
    capture: true,
    bubbles: true,
    composed: true,
    detail: "text",
    method: "POST",
    mode: "same-origin",
    adoptedCallback: "text",
    connectedMoveCallback: "text",
    disabledFeatures: 1,
    formAssociated: true,
  });
  const DESCRIPTORS = data({ get: "text", set: "text" });
  const elements = (names: string[]) =>
    names
      .map(
        (name) =>
          `for (const kind of ["form", "img"]) { const named = Document.prototype.createElement.call(document, kind); named.setAttribute("name", "${name}"); named.id = "${name}"; named.dataset.mischief = ""; Element.prototype.prepend.call(Reflect.get(Document.prototype, "body", document), named); }`,
      )
      .join("");
  const NAMES = elements([
    "Cardveil",
    "marqeta",
    "currentScript",
    "createElement",
    "querySelector",
    "getElementById",
    "addEventListener",
    "body",
    "documentElement",
    "customElements",
    "crypto",
  ]);

  const WAYS = ["module", "classic", "element", "parts", "marqeta"] as const;
  const MISCHIEF: [string, string][] = [
    ["options on Object.prototype", OPTIONS],
    ["members of the browser's dictionaries on Object.prototype", DICTIONARIES],
    ["accessors of descriptors on Object.prototype", DESCRIPTORS],
    ["elements with the names of what the SDK uses", NAMES],
  ];
  it.each(
    WAYS.flatMap((way) => MISCHIEF.map(([what, mischief]) => [what, way, mischief] as const)),
  )("leads no token astray and turns no card off: %s, %s", async (_, way, mischief) => {
    const [ended, frames] = await after(mischief, way);
    expect(ended).toBe("revealed");
    expect(new Set(frames)).toEqual(new Set([frameUrl]));
    expect(ada.redeems).toHaveLength(1);
  });

  it.each<[string, string]>([
    [
      "setters on Array.prototype",
      `for (const index of ["0", "1", "2"]) Object.defineProperty(Array.prototype, index, { configurable: true, set: hear, get: () => undefined });`,
    ],
    [
      "setters on Object.prototype",
      `for (const name of ["token", "origin", "frameUrl", "embed", "group"]) Object.defineProperty(Object.prototype, name, { configurable: true, set: hear, get: () => undefined });`,
    ],
    [
      "toJSON on every prototype",
      `Object.prototype.toJSON = String.prototype.toJSON = function () { hear(this); return "x"; };`,
    ],
    [
      "a then that every object has",
      `Object.prototype.then = function (resolve) { hear(this); resolve("x"); };`,
    ],
    [
      "a then that every text has",
      `String.prototype.then = function (resolve) { hear(this); resolve("x"); };`,
    ],
    [
      "the page's own name",
      `window.name = "cvt_test_evil"; document.querySelector("iframe")?.remove();`,
    ],
  ])("hears no token where the SDK computes: %s", async (_, listen) => {
    const [ended, frames] = await after(`
      window.overheard = new Map();
      const hear = (value) => { window.overheard.set(window.overheard.size, String(value)); };
      ${listen}`);
    expect(ended).toBe("revealed");
    expect(frames).toEqual([frameUrl]);
    const overheard = await ada.page.evaluate(() =>
      [...(window as unknown as { overheard: Map<number, string> }).overheard.values()].join(),
    );
    expect(overheard).not.toContain("cvt_test_");
  });

  it("does not send the card to where a clientUrl says that came with the options", async () => {
    const token = await ada.token(visa);
    const told = await ada.page.evaluate(
      async ({ client_url, embed, token, evil }) => {
        const { Cardveil } = await window.load(`${client_url}/sdk/v1/cardveil.js`);
        const card = Cardveil({ embed, ...JSON.parse(JSON.stringify({ clientUrl: evil })) }).card({
          token,
        });
        const revealed = new Promise<string>((done) => {
          card.on("revealed", () => done("revealed"));
          card.on("error", ({ code }) => done(code));
        });
        card.mount("#card");
        return revealed;
      },
      { client_url: demo.client_url, embed: demo.embed, token, evil: EVIL },
    );
    expect(told).toBe("revealed");
  });
});

describe("an option", () => {
  eachOnItsOwnPage();

  /** What `card` throws, or nothing. */
  const refusal = (
    options: object,
    place: object = {},
  ): Promise<{ code?: string; message?: string }> =>
    ada.page.evaluate(
      async ({ client_url, embed, options, place }) => {
        const { Cardveil } = await window.load(`${client_url}/sdk/v1/cardveil.js`);
        try {
          Cardveil({ embed, ...place }).card({ token: "cvt_test_1", ...options } as never);
          return {};
        } catch (error) {
          const { code, message } = error as { code: string; message: string };
          return { code, message };
        }
      },
      { client_url: demo.client_url, embed: demo.embed, options, place },
    );

  it.each<[string, object, object?]>([
    ["embed", {}, { embed: `emb_${SCRIPT}` }],
    ["embed, out of its path", {}, { embed: "emb_1/../../sdk/v1/cardveil.js" }],
    ["clientUrl", {}, { clientUrl: "javascript:parent.raid.ran++" }],
    ["clientUrl, as data", {}, { clientUrl: `data:text/html,${SCRIPT}` }],
    ["locale", { locale: SCRIPT }],
    ["theme", { appearance: { theme: SCRIPT } }],
    ["accent", { appearance: { accent: `#fff;background:url(//evil.example)` } }],
    ["font", { appearance: { font: `x;}</style>${SCRIPT}` } }],
    ["fields", { fields: [SCRIPT] }],
    ["fields, by a name that every list has", { fields: ["constructor", "__proto__"] }],
    ["copy", { copy: [SCRIPT] }],
  ])("with a script in it is refused, without being repeated: %s", async (_, options, place) => {
    const { code, message } = await refusal(options, place);
    expect(code).toBe("bad_option");
    expect(message).not.toMatch(/[<>]|evil|javascript:|data:|\.\.\//);
    expect(await ada.page.locator("iframe").count()).toBe(0);
  });

  it("that is a label is a text in the frame, and never more", async () => {
    const labels = Object.fromEntries(LABELS.map((name) => [name, SCRIPT]));
    const token = await ada.token(visa);
    expect((await ada.mount({ token, labels }, "revealed", "error")).at(-1)).toMatchObject({
      event: "revealed",
    });
    expect(
      await ada.frame.evaluate(() => [
        document.images.length,
        [...document.scripts].filter(({ text }) => text.includes("raid")).length,
        document.body.innerText.includes("onerror="),
      ]),
    ).toEqual([0, 0, true]);
  });

  it("that is no token is not sent, and never repeated", async () => {
    const token = `<img/src=x/onerror="parent.raid.ran++">`;
    expect((await ada.mount({ token }, "revealed", "error")).at(-1)).toMatchObject({
      event: "error",
      code: "token_failed",
    });
    expect(ada.redeems).toEqual([]);
    expect(
      await ada.frame.evaluate(() => [
        document.images.length,
        document.documentElement.outerHTML.includes("img/src=x"),
      ]),
    ).toEqual([0, false]);
    for (const { answer } of ada.wire.exchanges) expect(answer).not.toContain("img/src=x");
    expect(
      await ada.page.evaluate(() => [...window.raid.told, ...window.raid.heard].join()),
    ).not.toContain("img/src=x");
  });

  it("of the element is held to the same", async () => {
    const code = await ada.page.evaluate(
      async ({ client_url, script }) => {
        await window.load(`${client_url}/sdk/v1/cardveil.js`);
        const element = document.createElement("cardveil-card");
        for (const name of [
          "embed",
          "token",
          "client-url",
          "fields",
          "locale",
          "hide-after",
          "theme",
        ])
          element.setAttribute(name, script);
        const failed = new Promise<string>((done) =>
          element.addEventListener("error", (event) =>
            done((event as unknown as CustomEvent).detail.code),
          ),
        );
        document.querySelector("#card")?.append(element);
        const code = await failed;
        element.remove();
        return code;
      },
      { client_url: demo.client_url, script: SCRIPT },
    );
    expect(code).toBe("bad_option");
    expect(await ada.page.locator("iframe, #card img").count()).toBe(0);
  });

  it.each(["__proto__", "constructor", "prototype"])(
    "cannot write to what every object shares: %s",
    async (name) => {
      const token = await ada.token(visa);
      const own = { stolen: "yes", theme: "dark", pan: "yes", [name]: { stolen: "yes" } };
      const options = JSON.parse(
        JSON.stringify({ token }).replace(
          "}",
          `, "labels": {"${name}": "x", "hide": "Away"}, "appearance": {"${name}": ${JSON.stringify(own)}}, "${name}": ${JSON.stringify(own)}}`,
        ),
      );
      expect((await ada.mount(options, "revealed", "error")).at(-1)).toMatchObject({
        event: "revealed",
      });
      for (const where of [ada.page, ada.frame]) {
        expect(
          await where.evaluate(() => "stolen" in {} || "stolen" in Object || "theme" in {}),
        ).toBe(false);
      }
      expect(await ada.in("hide").textContent()).toContain("Away");
    },
  );
});

it("hears of a whole life of a card without a digit: shown, copied, hidden, shown again, closed", async () => {
  await arrive();
  await shown();
  await press(ada.in("copy-pan"));
  await ada.by("seen-copied").waitFor();
  await ada.in("hide").click();
  await ada.in("show").click();
  await ada.in("pan").waitFor();
  expect(await loot(ada)).not.toMatch(DIGITS);
  await press(ada.by("close-card"));
  const told: string[] = await ada.page.evaluate(() => window.raid.told);
  expect(told.length).toBeGreaterThan(5);
  for (const text of told)
    expect(text.replace(/"nonce":"[^"]*"|"(height|baseline)":[\d.]+/g, "")).not.toMatch(/\d{3}/);
  await leave();
});
