import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FramedCard } from "../src/card.ts";
import { delivered, Frame, make, mount, ORIGIN, record, TOKEN } from "./page.ts";

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
