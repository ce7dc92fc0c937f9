import { describe, expect, it, vi } from "vitest";
import type { CardOptions } from "../src/api.ts";
import { FramedCard } from "../src/card.ts";
import { parseOptions } from "../src/options.ts";
import { cards, delivered, Frame, make, mount, ORIGIN, record, TOKEN } from "./page.ts";

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
    const card = new FramedCard(place, parseOptions({ token: TOKEN }));
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
