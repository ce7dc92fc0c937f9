import nodeConsole from "node:console";
import { connect, type ForFrame, type ForPage, hello, parseForFrame } from "@cardveil/protocol";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CardEvents, CardOptions } from "../src/api.ts";
import { FramedCard } from "../src/card.ts";
import { cardveilFrom } from "../src/cardveil.ts";
import { parseOptions } from "../src/options.ts";

const ORIGIN = "https://cards.example.com";
const TOKEN = "cvt_test_1";

/** The other side: a window that the SDK believes to be inside its frame. */
class Frame {
  readonly window = { postMessage: vi.fn() };
  readonly heard: ForFrame[] = [];
  #port: MessagePort | undefined;
  #nonce = "";

  constructor(readonly element: HTMLIFrameElement) {
    Object.defineProperty(element, "contentWindow", { value: this.window });
  }

  hello(changes: object = {}): void {
    const event = new Event("message");
    Object.assign(event, { source: this.window, origin: ORIGIN, data: hello(), ...changes });
    window.dispatchEvent(event);
    const call = this.window.postMessage.mock.calls.at(-1);
    if (call === undefined) return;
    const [message, origin, [port]] = call as [ReturnType<typeof connect>, string, [MessagePort]];
    expect(origin).toBe(ORIGIN);
    expect(message).toEqual(connect(message.nonce));
    this.#nonce = message.nonce;
    this.#port = port;
    port.onmessage = ({ data }) => {
      const parsed = parseForFrame(data);
      expect(parsed).toEqual(data);
      if (parsed !== undefined) this.heard.push(parsed);
    };
  }

  say(message: ForPage | object): void {
    this.#port?.postMessage(message);
  }

  ready(): void {
    this.say({ type: "ready", nonce: this.#nonce, title: "Your card" });
  }

  /** But for what it stands on, which is told at any time. */
  get types(): string[] {
    return this.heard.map(({ type }) => type).filter((type) => type !== "ground");
  }
}

let cards: FramedCard[];

beforeEach(() => {
  cards = [];
  // The test's own document loads no frames, which is wanted here, and complains of each on node's
  // console.
  vi.spyOn(nodeConsole, "error").mockImplementation(() => {});
  document.body.innerHTML = '<div id="card"></div>';
});
afterEach(() => {
  for (const card of cards) card.destroy();
  vi.useRealTimers();
});

function make(
  token: CardOptions["token"] = TOKEN,
  options: Omit<CardOptions, "token"> = {},
): FramedCard {
  const place = {
    origin: ORIGIN,
    embed: "emb_1",
    frameUrl: `${ORIGIN}/embed/emb_1`,
    doctor: () => import("../src/doctor.ts"),
  };
  const card = new FramedCard(place, parseOptions({ token, ...options }), token);
  cards.push(card);
  return card;
}

function mount(card: FramedCard): Frame {
  card.mount("#card");
  const element = document.querySelector("iframe");
  if (element === null) throw new Error("there is no frame");
  return new Frame(element);
}

/** Messages over a real MessagePort arrive in tasks of their own. */
const delivered = () => new Promise<void>((done) => setTimeout(done, 20));

function record(card: FramedCard): [string, unknown][] {
  const seen: [string, unknown][] = [];
  for (const event of ["ready", "revealed", "hidden", "copied", "expired", "error"] as const) {
    card.on(event, (detail: CardEvents[typeof event]) => seen.push([event, detail]));
  }
  return seen;
}

describe("mount", () => {
  it("makes the frame, which may write to the clipboard (clipboard-copy#41)", () => {
    const { element } = mount(make(TOKEN, { appearance: { theme: "dark" } }));
    expect(element.getAttribute("src")).toBe(`${ORIGIN}/embed/emb_1?lang=en&as=card&scheme=dark`);
    expect(element.title).toBe("Card details");
    expect(element.getAttribute("allow")).toBe("clipboard-write");
    expect(element.dataset["testid"]).toBe("cardveil-frame");
    expect(element.style.getPropertyValue("color-scheme")).toBe("dark");
    expect(element.outerHTML).not.toContain(TOKEN);
  });

  it("says what the frame stands on, unless the page says a theme", async () => {
    for (const [theme, told] of [
      ["auto", ["ground", "configure"]],
      ["light", ["configure"]],
    ] as const) {
      document.body.innerHTML = '<div id="card"></div>';
      const frame = mount(make(TOKEN, { appearance: { theme } }));
      frame.hello();
      await delivered();
      expect(frame.heard.map(({ type }) => type)).toEqual(told);
    }
  });

  it("takes an element too, and says when there is none (frames-react#25)", () => {
    const card = make();
    expect(() => card.mount("#nowhere")).toThrow(expect.objectContaining({ code: "bad_option" }));
    expect(() => card.mount(null as unknown as Element)).toThrow(
      expect.objectContaining({ code: "bad_option" }),
    );
    card.mount(document.body);
    expect(document.querySelectorAll("body > iframe")).toHaveLength(1);
    expect(() => card.mount("#card")).toThrow(expect.objectContaining({ code: "bad_option" }));
    card.destroy();
    expect(() => card.mount("#card")).toThrow(expect.objectContaining({ code: "bad_option" }));
  });
});

describe("a frame that cannot be seen", () => {
  const hidden = {
    type: "warning",
    code: "frame_covered",
    message: "Something covers your card.",
    cause: "covered",
  };

  it("is told of with what hides it, which its page can see", async () => {
    const card = make();
    const warned: unknown[] = [];
    card.on("warning", (warning) => warned.push(warning));
    const frame = mount(card);
    document.body.style.setProperty("opacity", "0.5");
    frame.hello();
    frame.ready();
    frame.say(hidden);
    await vi.waitFor(() => expect(warned).toHaveLength(1));
    document.body.style.removeProperty("opacity");
    expect(warned[0]).toMatchObject({
      code: "frame_covered",
      cause: "effect",
      message: expect.stringContaining("<body> has opacity: 0.5"),
    });
  });

  it("is told of by itself where its page cannot find out", async () => {
    const place = {
      origin: ORIGIN,
      embed: "emb_1",
      frameUrl: `${ORIGIN}/embed/emb_1`,
      doctor: () => Promise.reject(new Error("blocked")),
    };
    const card = new FramedCard(place, parseOptions({ token: TOKEN }), TOKEN);
    cards.push(card);
    const warned: unknown[] = [];
    card.on("warning", (warning) => warned.push(warning));
    const frame = mount(card);
    frame.hello();
    frame.ready();
    frame.say(hidden);
    await vi.waitFor(() => expect(warned).toHaveLength(1));
    expect(warned[0]).toEqual({ code: "frame_covered", cause: "covered", message: hidden.message });
  });
});

describe("handshake", () => {
  it("answers its own frame at its own origin and no other", () => {
    const frame = mount(make());
    for (const wrong of [
      { source: window },
      { source: null },
      { origin: "https://evil.example" },
      { origin: `${ORIGIN}.evil.example` },
      { data: { cardveil: 2, type: "hello" } },
      { data: "hello" },
    ]) {
      frame.hello(wrong);
      expect(frame.window.postMessage).not.toHaveBeenCalled();
    }
    frame.hello();
    expect(frame.window.postMessage).toHaveBeenCalledOnce();
  });

  it("configures, waits for ready, reveals, and gives the token when asked", async () => {
    const token = vi.fn(async () => TOKEN);
    const card = make(token);
    const seen = record(card);
    const frame = mount(card);
    frame.hello();
    await delivered();
    expect(frame.types).toEqual(["configure"]);
    frame.say({ type: "ready", nonce: "not-the-nonce-that-was-sent" });
    await delivered();
    expect(seen).toEqual([]);
    frame.ready();
    await delivered();
    expect(frame.types).toEqual(["configure", "reveal"]);
    expect(token).not.toHaveBeenCalled();
    frame.say({ type: "needToken" });
    await delivered();
    expect(frame.heard.at(-1)).toEqual({ type: "token", token: TOKEN });
    frame.say({ type: "revealed", fields: ["pan"] });
    frame.say({ type: "copied", field: "pan" });
    frame.say({ type: "expired" });
    frame.say({ type: "hidden" });
    frame.say({
      type: "error",
      code: "internal",
      message: "m",
      retryable: true,
      requestId: "req_1",
    });
    frame.say({ type: "size", height: 325 });
    frame.say({ type: "revealed", fields: ["4111111111111111"] });
    await delivered();
    expect(seen).toEqual([
      ["ready", undefined],
      ["revealed", { fields: ["pan"] }],
      ["copied", { field: "pan" }],
      ["expired", undefined],
      ["hidden", undefined],
      [
        "error",
        expect.objectContaining({
          code: "internal",
          message: "m",
          retryable: true,
          requestId: "req_1",
        }),
      ],
    ]);
    expect(frame.element.style.height).toBe("325px");
  });

  it("starts anew when the frame was loaded again", async () => {
    const card = make();
    const seen = record(card);
    const frame = mount(card);
    frame.hello();
    frame.ready();
    await delivered();
    frame.hello();
    frame.ready();
    await delivered();
    expect(seen.filter(([event]) => event === "ready")).toHaveLength(2);
    expect(frame.types).toEqual(["configure", "reveal", "configure", "reveal"]);
  });

  it("keeps several cards apart (react-stripe-js#154)", async () => {
    const [a, b] = [make("cvt_test_a"), make("cvt_test_b")];
    const frameA = mount(a);
    b.mount("#card");
    const frameB = new Frame(document.querySelectorAll("iframe")[1] as HTMLIFrameElement);
    frameB.hello();
    frameB.ready();
    frameB.say({ type: "needToken" });
    await delivered();
    expect(frameA.window.postMessage).not.toHaveBeenCalled();
    expect(frameB.heard.at(-1)).toEqual({ type: "token", token: "cvt_test_b" });
  });
});

describe("token", () => {
  async function asked(
    token: CardOptions["token"],
    times = 1,
  ): Promise<{ frame: Frame; card: FramedCard }> {
    const card = make(token);
    const frame = mount(card);
    frame.hello();
    frame.ready();
    for (let i = 0; i < times; i += 1) {
      frame.say({ type: "needToken" });
      await delivered();
    }
    return { frame, card };
  }

  it("as a string serves again, for the frame is the same holder", async () => {
    const { frame } = await asked(TOKEN, 2);
    expect(frame.heard.slice(-2)).toEqual([
      { type: "token", token: TOKEN },
      { type: "token", token: TOKEN },
    ]);
  });

  it.each<[string, CardOptions["token"]]>([
    ["a template's string", `\n    ${TOKEN}\n  `],
    ["a function", async () => `${TOKEN}\r\n`],
    ["a file with a mark", `\ufeff${TOKEN}\t`],
  ])(
    "of %s comes without the white space around it, which pages' templates leave",
    async (_, token) => {
      const { frame } = await asked(token as string, 1);
      expect(frame.heard.at(-1)).toEqual({ type: "token", token: TOKEN });
    },
  );

  it.each([
    ["words", "not a token"],
    ["the whole answer of a route", `{"token":"${TOKEN}"}`],
  ])("that is none, but %s, is not sent", async (_, given) => {
    const { frame } = await asked(given, 1);
    expect(frame.heard.at(-1)).toEqual({ type: "noToken" });
  });

  it("of a function that still runs is not asked for a second time", async () => {
    let give = (_token: string) => {};
    const token = vi.fn(
      () =>
        new Promise<string>((resolve) => {
          give = resolve;
        }),
    );
    const { frame } = await asked(token, 2);
    give(TOKEN);
    await delivered();
    expect(token).toHaveBeenCalledTimes(1);
    expect(frame.heard.at(-1)).toEqual({ type: "token", token: TOKEN });
  });

  it("as a function is asked for each time", async () => {
    let count = 0;
    const { frame } = await asked(() => `cvt_test_${(count += 1)}`, 2);
    expect(frame.heard.slice(-2)).toEqual([
      { type: "token", token: "cvt_test_1" },
      { type: "token", token: "cvt_test_2" },
    ]);
  });

  it.each<[string, () => unknown]>([
    [
      "throws",
      () => {
        throw new Error("no");
      },
    ],
    ["rejects", () => Promise.reject(new Error("no"))],
    ["gives nothing", () => undefined],
    ["gives an object", () => ({ token: TOKEN })],
    ["gives a token with a space", () => "a b"],
  ])("of a function that %s becomes token_failed", async (_, token) => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    const { frame } = await asked(token as () => string);
    expect(frame.heard.at(-1)).toEqual({ type: "noToken" });
    expect(log).toHaveBeenCalledOnce();
  });

  it("that comes too late becomes token_failed", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const card = make(() => new Promise<string>(() => {}));
    const frame = mount(card);
    frame.hello();
    frame.ready();
    frame.say({ type: "needToken" });
    const turn = () => new Promise((done) => setImmediate(done));
    for (let i = 0; i < 20; i += 1) await turn();
    await vi.advanceTimersByTimeAsync(30_000);
    for (let i = 0; i < 20; i += 1) await turn();
    expect(frame.heard.at(-1)).toEqual({ type: "noToken" });
  });

  it("that arrives after destroy goes nowhere", async () => {
    let give = (_: string) => {};
    const { frame, card } = await asked(() => new Promise((resolve) => (give = resolve)));
    card.destroy();
    give(TOKEN);
    await delivered();
    expect(frame.types).not.toContain("token");
  });
});

describe("update", () => {
  /** What one frame was told of changes. */
  const updates = ({ heard }: Frame) => heard.filter(({ type }) => type === "update");

  it("tells the frame how the card looks and speaks now, and asks for no token", async () => {
    const token = vi.fn(async () => TOKEN);
    const card = make(token, { locale: "en", appearance: { theme: "light", radius: 3 } });
    const seen = record(card);
    const frame = mount(card);
    frame.hello();
    frame.ready();
    card.update({
      appearance: { theme: "dark" },
      locale: "de",
      hideAfter: 30,
      copy: true,
      labels: { hide: "Weg" },
      title: "Meine Karte",
    });
    await delivered();
    const settings = {
      locale: "de",
      hideAfter: 30,
      copy: ["pan", "expiry", "cvv", "name"],
      labels: { hide: "Weg" },
    };
    expect(updates(frame)).toEqual([
      { type: "update", appearance: { theme: "dark" }, ...settings },
    ]);
    expect(frame.element.title).toBe("Meine Karte");
    expect(frame.element.style.getPropertyValue("color-scheme")).toBe("dark");
    // What is not said stays; what is undefined is as if never said.
    card.update({ copy: undefined });
    card.update({ title: undefined });
    await delivered();
    expect(updates(frame).at(-1)).toEqual({
      type: "update",
      appearance: { theme: "dark" },
      ...settings,
      copy: ["pan"],
    });
    expect(frame.element.title).toBe("Your card");
    frame.say({ type: "title", title: "Ihre Karte" });
    await delivered();
    expect(frame.element.title).toBe("Ihre Karte");
    expect(token).not.toHaveBeenCalled();
    expect(seen.map(([event]) => event)).toEqual(["ready"]);
    expect(document.querySelectorAll("iframe")).toHaveLength(1);
  });

  it("tells each part, whose own looks stay", async () => {
    const card = make(TOKEN, { locale: "en" });
    document.body.innerHTML = '<div id="a"></div><div id="b"></div>';
    card.mount("#a", "pan", { appearance: { theme: "light", text: { fontSize: 20 } } });
    card.mount("#b", "expiry");
    const [pan, expiry, holder] = [...document.querySelectorAll("iframe")].map(
      (element) => new Frame(element),
    ) as [Frame, Frame, Frame];
    expiry.hello();
    // Nothing that could be taken for the first word of a part that is told nothing yet.
    card.update({ hideAfter: 20 });
    holder.hello();
    holder.ready();
    await delivered();
    pan.hello();
    card.update({ appearance: { theme: "dark", radius: 5 }, locale: "fr" });
    await delivered();
    expect(pan.types).toEqual(["part", "update"]);
    expect(expiry.types).toEqual(["part", "update"]);
    expect(updates(pan)).toEqual([
      {
        type: "update",
        appearance: { theme: "light", radius: 5, text: { fontSize: 20 } },
        locale: "fr",
        labels: {},
      },
    ]);
    expect(updates(expiry)).toEqual([
      { type: "update", appearance: { theme: "dark", radius: 5 }, locale: "fr", labels: {} },
    ]);
    expect(pan.element.style.getPropertyValue("color-scheme")).toBe("light");
    expect(expiry.element.style.getPropertyValue("color-scheme")).toBe("dark");
    expect(updates(holder)).toHaveLength(1);
  });

  it("before the frame has said hello is what the frame is told at first", async () => {
    const card = make();
    card.update({ locale: "de" });
    const frame = mount(card);
    expect(frame.element.getAttribute("src")).toBe(
      `${ORIGIN}/embed/emb_1?lang=de&as=card&scheme=light`,
    );
    card.update({ hideAfter: 20 });
    frame.hello();
    frame.ready();
    await delivered();
    expect(frame.types.slice(-2)).toEqual(["configure", "reveal"]);
    expect(updates(frame)).toEqual([]);
    expect(frame.heard.at(-2)).toMatchObject({ locale: "de", hideAfter: 20 });
  });

  it("holds for a frame that is loaded again", async () => {
    const card = make();
    const frame = mount(card);
    frame.hello();
    frame.ready();
    card.update({ locale: "de" });
    await delivered();
    frame.hello();
    await delivered();
    expect(frame.heard.at(-1)).toMatchObject({ type: "configure", locale: "de" });
  });

  it.each<[string, object | null]>([
    ["token", { token: "cvt_test_2" }],
    ["fields", { fields: ["pan"] }],
    ["masked", { locale: "de", masked: false }],
    ["embed", { embed: "emb_2" }],
    ["clientUrl", { clientUrl: "https://evil.example" }],
    ["__proto__", JSON.parse('{"__proto__": {"locale": "de"}}')],
    ["nonsense", { nonsense: undefined }],
    ["appearance", { locale: "de", appearance: { theme: "neon" } }],
    ["locale", { locale: "english!" }],
    ["hideAfter", { hideAfter: 4 }],
    ["copy", { copy: ["pin"] }],
    ["labels", { labels: { hide: "" } }],
    ["title", { title: "" }],
    ["update", null],
  ])("refuses %s and changes nothing", async (option, changes) => {
    const card = make();
    const frame = mount(card);
    frame.hello();
    frame.ready();
    await delivered();
    const refused = expect.objectContaining({
      code: "bad_option",
      message: expect.stringContaining(option),
    });
    expect(() => card.update(changes as object)).toThrow(refused);
    frame.hello();
    await delivered();
    expect(updates(frame)).toEqual([]);
    expect(frame.heard.at(-1)).toMatchObject({
      type: "configure",
      locale: "en",
      masked: ["cvv"],
      hideAfter: 60,
    });
  });

  it("reads each option once, and only the caller's own", () => {
    const card = make();
    let asked = 0;
    card.update(
      Object.defineProperty({}, "locale", {
        enumerable: true,
        get: () => ((asked += 1) === 1 ? "de" : "fr"),
      }),
    );
    card.update({ copy: false });
    expect(asked).toBe(1);
    card.update(Object.create({ token: "cvt_test_2" }));
  });

  it("of a card that is destroyed does nothing", async () => {
    const card = make();
    const frame = mount(card);
    frame.hello();
    frame.ready();
    card.destroy();
    card.update({ locale: "de" });
    await delivered();
    expect(updates(frame)).toEqual([]);
  });
});

describe("hide and reveal", () => {
  it("before ready decide how the card starts", async () => {
    const card = make();
    const frame = mount(card);
    card.hide();
    frame.hello();
    frame.ready();
    await delivered();
    expect(frame.types).toEqual(["configure", "hide"]);
    card.reveal();
    card.hide();
    await delivered();
    expect(frame.types.slice(2)).toEqual(["reveal", "hide"]);
  });
});

describe("destroy", () => {
  it("right after mount spends nothing, as in StrictMode (react-stripe-js#256)", async () => {
    const token = vi.fn(async () => TOKEN);
    const card = make(token);
    const seen = record(card);
    const frame = mount(card);
    card.destroy();
    frame.hello();
    await delivered();
    expect(frame.window.postMessage).not.toHaveBeenCalled();
    expect(token).not.toHaveBeenCalled();
    expect(document.querySelector("iframe")).toBeNull();
    expect(seen).toEqual([]);
  });

  it("tells the frame and takes it away", async () => {
    const card = make();
    const frame = mount(card);
    frame.hello();
    frame.ready();
    await delivered();
    card.destroy();
    await delivered();
    expect(frame.types.at(-1)).toBe("destroy");
    expect(document.querySelector("iframe")).toBeNull();
  });

  it("never throws, whatever was done to the page (react-stripe-js#291)", () => {
    const card = make();
    card.destroy();
    card.destroy();
    const other = make();
    mount(other);
    document.body.innerHTML = "";
    other.destroy();
    other.reveal();
    other.hide();
  });

  it("calls nobody afterwards", async () => {
    const card = make();
    const seen = record(card);
    const frame = mount(card);
    frame.hello();
    frame.ready();
    frame.say({ type: "hidden" });
    card.destroy();
    await delivered();
    expect(seen).toEqual([]);
  });
});

describe("a frame that does not come", () => {
  const server = vi.fn<typeof fetch>();

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("fetch", server);
    server
      .mockReset()
      .mockImplementation(async () => Response.json({ embed: "emb_1", origin_registered: true }));
  });
  afterEach(() => void vi.unstubAllGlobals());

  const error = () => document.querySelector("[data-testid=cardveil-error]");
  const press = () =>
    document.querySelector<HTMLButtonElement>("[data-testid=cardveil-retry]")?.click();
  const online = (is: boolean) => vi.spyOn(navigator, "onLine", "get").mockReturnValue(is);

  const blocked = async () => {
    const card = make();
    const seen = record(card);
    const { element } = mount(card);
    element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(60_000);
    return seen;
  };

  it("times out after 20 s (react-stripe-elements#424)", async () => {
    const card = make();
    const seen = record(card);
    mount(card);
    await vi.advanceTimersByTimeAsync(19_999);
    expect(seen).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    await vi.dynamicImportSettled();
    expect(seen).toEqual([
      ["error", expect.objectContaining({ code: "frame_timeout", retryable: true })],
    ]);
    expect(error()?.textContent).toBe("Your card cannot be shown right nowTry again");
    expect(document.querySelector("iframe")?.style.display).toBe("none");
    card.destroy();
    expect(document.querySelector("#card")?.children).toHaveLength(0);
  });

  it("is told to the cardholder before it is known why", async () => {
    server.mockReturnValue(new Promise(() => {}));
    expect(await blocked()).toEqual([]);
    expect(error()?.textContent).toContain("cannot be shown right now");
  });

  it("is blocked when something else loaded", async () => {
    expect(await blocked()).toEqual([
      [
        "error",
        expect.objectContaining({
          code: "frame_blocked",
          message: expect.stringContaining(ORIGIN),
        }),
      ],
    ]);
  });

  it("has the wrong origin when the server says so", async () => {
    server.mockResolvedValue(Response.json({ embed: "emb_1", origin_registered: false }));
    expect(await blocked()).toEqual([
      [
        "error",
        expect.objectContaining({
          code: "origin_refused",
          message: expect.stringContaining(location.origin),
        }),
      ],
    ]);
    expect(server).toHaveBeenCalledWith(
      `${ORIGIN}/client/v1/embeds/emb_1`,
      expect.objectContaining({ credentials: "omit" }),
    );
  });

  it("has an unknown embed when the server says so", async () => {
    server.mockResolvedValue(new Response(null, { status: 404 }));
    expect(await blocked()).toEqual([
      ["error", expect.objectContaining({ code: "embed_unknown" })],
    ]);
  });

  it("is blocked by the page's own policy, with the line to add (react-stripe-js#166)", async () => {
    const card = make();
    const seen = record(card);
    mount(card);
    const violation = (blockedURI: string, effectiveDirective: string) =>
      document.dispatchEvent(
        Object.assign(new Event("securitypolicyviolation"), { blockedURI, effectiveDirective }),
      );
    violation("https://ads.example", "frame-src");
    violation(ORIGIN, "img-src");
    violation(ORIGIN, "frame-src");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(seen).toEqual([
      [
        "error",
        expect.objectContaining({
          code: "csp_blocked",
          message: expect.stringContaining(`"frame-src ${ORIGIN}"`),
        }),
      ],
    ]);
  });

  it("is no longer waited for once it said hello", async () => {
    const card = make();
    const seen = record(card);
    const frame = mount(card);
    frame.hello();
    frame.element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(seen).toEqual([]);
  });

  it("is told to the console when nobody listens", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    mount(make());
    await vi.advanceTimersByTimeAsync(20_000);
    expect(log).toHaveBeenCalledWith(expect.objectContaining({ code: "frame_timeout" }));
  });

  it("waits for as long as the page says", async () => {
    const card = make(TOKEN, { timeouts: { frame: 90 } });
    const seen = record(card);
    mount(card);
    await vi.advanceTimersByTimeAsync(89_999);
    expect(seen).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(error()).not.toBeNull();
  });

  it("is told as unavailable where nothing answers, and not as blocked", async () => {
    server.mockRejectedValue(new TypeError("Failed to fetch"));
    expect(await blocked()).toEqual([
      [
        "error",
        expect.objectContaining({
          code: "unavailable",
          retryable: true,
          message: expect.stringContaining(ORIGIN),
        }),
      ],
    ]);
  });

  it("is told as blocked where the page's policy forbids to ask why", async () => {
    server.mockImplementation(async () => {
      const violation = {
        blockedURI: `${ORIGIN}/client/v1/embeds/emb_1`,
        effectiveDirective: "connect-src",
      };
      document.dispatchEvent(Object.assign(new Event("securitypolicyviolation"), violation));
      throw new TypeError("Failed to fetch");
    });
    expect(await blocked()).toEqual([
      ["error", expect.objectContaining({ code: "frame_blocked" })],
    ]);
  });

  it("is told as offline, without a question, and comes by itself, once, when the line is back", async () => {
    const line = online(false);
    const token = vi.fn(async () => TOKEN);
    const card = make(token);
    const seen = record(card);
    const { element } = mount(card);
    const loads = vi.spyOn(element, "src", "set");
    // Firefox fires no load for what did not.
    await vi.advanceTimersByTimeAsync(2_000);
    expect(seen).toEqual([
      ["error", expect.objectContaining({ code: "offline", retryable: true })],
    ]);
    expect(error()?.textContent).toContain("You are offline");
    expect(server).not.toHaveBeenCalled();
    line.mockReturnValue(true);
    window.dispatchEvent(new Event("online"));
    window.dispatchEvent(new Event("online"));
    expect(loads).toHaveBeenCalledTimes(1);
    expect(error()).toBeNull();
    expect(element.style.display).toBe("inline-block");
    expect(token).not.toHaveBeenCalled();
  });

  it.each<[string, (card: FramedCard) => void]>([
    ["a click", press],
    ["reveal()", (card) => card.reveal()],
  ])("is loaded again by %s, and shows the card with one token", async (_, act) => {
    vi.useRealTimers();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const token = vi.fn(async () => TOKEN);
    const card = make(token);
    const seen = record(card);
    const frame = mount(card);
    frame.element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(2_000);
    await vi.dynamicImportSettled();
    card.hide();
    act(card);
    expect(error()).toBeNull();
    vi.useRealTimers();
    frame.hello();
    frame.ready();
    frame.say({ type: "needToken" });
    await delivered();
    expect(frame.types).toEqual(expect.arrayContaining(["configure", "reveal", "token"]));
    expect(token).toHaveBeenCalledTimes(1);
    expect(seen.filter(([event]) => event === "ready")).toHaveLength(1);
  });

  it("may come late, and is as good", async () => {
    const card = make();
    record(card);
    const frame = mount(card);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(error()).not.toBeNull();
    frame.hello();
    expect(error()).toBeNull();
    expect(frame.element.style.display).toBe("inline-block");
    await vi.advanceTimersByTimeAsync(120_000);
    expect(error()).toBeNull();
  });

  it("in parts moved what follows when it came, and is as high as what comes", () => {
    document.body.innerHTML = '<div id="card"></div>';
    const card = make();
    card.mount("#card", "pan", { appearance: { text: { fontSize: 20 } } });
    card.mount("#card", "cvv");
    card.mount("#card", "toggle");
    card.mount("#card", "expiry", { appearance: { text: { fontSize: 40, lineHeight: 1.2 } } });
    expect(
      [...document.querySelectorAll<HTMLElement>("#card iframe")].map(({ style }) => style.height),
    ).toEqual(["28px", "44px", "44px", "48px"]);
  });

  it("in parts is told once, in one place, and all that was lost is loaded again", async () => {
    document.body.innerHTML = '<div id="a"></div><div id="b"></div><div id="c"></div>';
    const card = make();
    const seen = record(card);
    card.mount("#a", "pan");
    card.mount("#b", "expiry");
    const [pan, expiry, holder] = [...document.querySelectorAll("iframe")].map(
      (element) => new Frame(element),
    ) as [Frame, Frame, Frame];
    const loads = [pan, expiry, holder].map(({ element }) => vi.spyOn(element, "src", "set"));
    expiry.hello();
    await vi.advanceTimersByTimeAsync(30_000);
    await vi.dynamicImportSettled();
    expect(document.querySelectorAll("[data-testid=cardveil-error]")).toHaveLength(1);
    expect(error()?.parentElement?.id).toBe("a");
    expect(expiry.element.style.display).toBe("none");
    expect(seen).toHaveLength(1);
    card.mount("#c", "name");
    expect(document.querySelector<HTMLElement>("#c iframe")?.style.display).toBe("none");
    press();
    expect(loads.map(({ mock }) => mock.calls.length)).toEqual([1, 0, 1]);
    expect(expiry.element.style.display).toBe("inline-block");
    expect(holder.element.style.visibility).toBe("hidden");
    expect(error()).toBeNull();
  });

  it("in parts is loaded again with what is about to be lost", async () => {
    document.body.innerHTML = '<div id="a"></div><div id="b"></div>';
    const card = make();
    const seen = record(card);
    card.mount("#a", "pan");
    card.mount("#b", "expiry");
    const [pan, expiry] = document.querySelectorAll("iframe") as unknown as [
      HTMLIFrameElement,
      HTMLIFrameElement,
    ];
    pan.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(1_000);
    expiry.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(1_000);
    const loads = [pan, expiry].map((element) => vi.spyOn(element, "src", "set"));
    card.reveal();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(loads.map(({ mock }) => mock.calls.length)).toEqual([1, 1]);
    expect(error()).toBeNull();
    expect(seen).toHaveLength(1);
  });

  it("speaks the page's words, and takes the focus along", async () => {
    const card = make(TOKEN, { labels: { unreachable: "Geht gerade nicht.", retry: "Nochmal" } });
    record(card);
    const { element } = mount(card);
    element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(error()?.textContent).toBe("Geht gerade nicht.Nochmal");
    document.querySelector<HTMLButtonElement>("[data-testid=cardveil-retry]")?.focus();
    press();
    expect(document.activeElement).toBe(element);
  });

  it("collapsed from 300 px to 78, and leaves a notice as high as the frame, in the card's language", async () => {
    const card = make(TOKEN, { locale: "de-CH" });
    record(card);
    const { element } = mount(card);
    element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(2_000);
    const notice = error() as HTMLElement;
    expect(notice.style.minHeight).toBe(element.style.height);
    expect(notice.lang).toBe("de");
    expect(notice.textContent).toBe(
      "Ihre Karte kann gerade nicht angezeigt werdenErneut versuchen",
    );
  });

  it("of one part said that the whole card cannot be shown, and says nothing but how to try again", async () => {
    const card = make();
    record(card);
    for (const part of ["pan", "copy-pan"] as const) card.mount("#card", part);
    const [pan, copy, holder] = [...document.querySelectorAll("iframe")].map(
      (element) => new Frame(element),
    ) as [Frame, Frame, Frame];
    holder.hello();
    pan.hello();
    copy.element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(error()?.textContent).toBe("Try again");
    expect((error() as HTMLElement).style.minHeight).toBe("44px");
    expect(error()?.previousElementSibling).toBe(copy.element);
  });

  it("is waited for no more once its card is destroyed", async () => {
    const card = make();
    record(card);
    const { element } = mount(card);
    const loads = vi.spyOn(element, "src", "set");
    element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(2_000);
    card.destroy();
    window.dispatchEvent(new Event("online"));
    card.reveal();
    expect(loads).not.toHaveBeenCalled();
    expect(document.querySelector("#card")?.children).toHaveLength(0);
  });

  it.each([
    ["null", "file:", "file"],
    ["null", "https:", "allow-same-origin"],
  ])(
    "of a page whose origin is %s (%s) is told the true cause",
    async (origin, protocol, cause) => {
      vi.stubGlobal("origin", origin);
      vi.stubGlobal("location", { origin: "https://shop.example", protocol });
      expect(await blocked()).toEqual([
        [
          "error",
          expect.objectContaining({
            code: "origin_refused",
            retryable: false,
            message: expect.stringContaining(cause),
          }),
        ],
      ]);
    },
  );
});

describe("a prepared frame", () => {
  const veil = () => cardveilFrom(`${ORIGIN}/sdk/v1/cardveil.js`)({ embed: "emb_1" });
  const only = () => {
    const [element, ...more] = document.querySelectorAll("iframe");
    if (element === undefined || more.length > 0) throw new Error(`${more.length + 1} frames`);
    return new Frame(element);
  };

  it("is there before the token, shows nothing, and becomes the card that is mounted in its place", async () => {
    const ours = veil();
    ours.prepare("#card");
    ours.prepare("#card");
    const frame = only();
    frame.hello();
    await delivered();
    expect(frame.element.style.visibility).toBe("hidden");
    expect(frame.types).toEqual([]);
    const token = vi.fn(async () => TOKEN);
    const card = ours.card({ token, locale: "de", title: "Meine Karte" });
    cards.push(card as FramedCard);
    card.mount("#card");
    frame.ready();
    frame.say({ type: "needToken" });
    await delivered();
    expect(document.querySelectorAll("iframe")).toHaveLength(1);
    expect(frame.element.style.visibility).toBe("");
    expect(frame.element.dataset["testid"]).toBe("cardveil-frame");
    expect(frame.element.title).toBe("Meine Karte");
    expect(frame.types.slice(-3)).toEqual(["configure", "reveal", "token"]);
    expect(token).toHaveBeenCalledTimes(1);
    expect(frame.window.postMessage).toHaveBeenCalledTimes(1);
  });

  it("that has not come yet is waited for anew, and told when it is there", async () => {
    const ours = veil();
    ours.prepare();
    const frame = only();
    const card = ours.card({ token: TOKEN });
    cards.push(card as FramedCard);
    card.mount("#card", "pan");
    expect(
      [...document.querySelectorAll("iframe")]
        .map(({ src }) => new URL(src).searchParams.get("as"))
        .sort(),
    ).toEqual(["holder", "part"]);
    frame.hello();
    await delivered();
    expect(frame.types).toEqual(["configure"]);
  });

  it("is of its own place and kind alone, and serves one card", () => {
    const ours = veil();
    ours.prepare("#card");
    document.body.append(Object.assign(document.createElement("div"), { id: "other" }));
    const make = () => {
      const card = ours.card({ token: TOKEN });
      cards.push(card as FramedCard);
      return card;
    };
    make().mount("#other");
    make().mount("#card", "pan");
    expect(document.querySelectorAll("[data-testid=cardveil-prepared]")).toHaveLength(1);
    make().mount("#card");
    expect(document.querySelectorAll("[data-testid=cardveil-prepared]")).toHaveLength(0);
    const before = document.querySelectorAll("iframe").length;
    make().mount("#card");
    expect(document.querySelectorAll("iframe")).toHaveLength(before + 1);
    cards[0]?.destroy();
    cards[2]?.destroy();
  });

  it("is of the page, so that another veil of the same embed finds it, and one of another embed does not", () => {
    document.body.append(Object.assign(document.createElement("div"), { id: "there" }));
    veil().prepare("#there");
    const other = cardveilFrom(`${ORIGIN}/sdk/v1/cardveil.js`)({ embed: "emb_2" }).card({
      token: TOKEN,
    });
    cards.push(other as FramedCard);
    other.mount("#there");
    expect(document.querySelectorAll("[data-testid=cardveil-prepared]")).toHaveLength(1);
    const card = veil().card({ token: TOKEN });
    cards.push(card as FramedCard);
    card.mount("#there");
    expect(document.querySelectorAll("[data-testid=cardveil-prepared]")).toHaveLength(0);
    expect(document.querySelectorAll("#there iframe")).toHaveLength(2);
  });

  it("that was lost, or taken out of the page, is left for a new one", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    vi.stubGlobal(
      "fetch",
      vi.fn(async () => new Response("{}")),
    );
    const ours = veil();
    ours.prepare("#card");
    const { element } = only();
    element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(2_000);
    const card = ours.card({ token: TOKEN });
    cards.push(card as FramedCard);
    card.mount("#card");
    expect(only().element).not.toBe(element);
    vi.unstubAllGlobals();
  });

  it("is taken away when it is no longer wanted, after ten minutes, or when more than four wait", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const ours = veil();
    const end = ours.prepare("#card");
    end();
    end();
    expect(document.querySelector("iframe")).toBeNull();
    document.body.innerHTML = [1, 2, 3, 4, 5].map((n) => `<div id="n${n}"></div>`).join("");
    for (const n of [1, 2, 3, 4, 5]) ours.prepare(`#n${n}`);
    expect(
      [...document.querySelectorAll("iframe")].map(({ parentElement }) => parentElement?.id),
    ).toEqual(["n2", "n3", "n4", "n5"]);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(document.querySelector("iframe")).toBeNull();
    expect(() => ours.prepare("#nowhere")).toThrow(expect.objectContaining({ code: "bad_option" }));
  });
});

describe("handlers", () => {
  it("can be taken away, and know their events", async () => {
    const card = make();
    const handler = vi.fn();
    const off = card.on("ready", handler);
    off();
    expect(() => card.on("nonsense" as "ready", handler)).toThrow(
      expect.objectContaining({ code: "bad_option" }),
    );
    const frame = mount(card);
    frame.hello();
    frame.ready();
    await delivered();
    expect(handler).not.toHaveBeenCalled();
  });
});
