/**
 * The stand-in for Marqeta.js, with a card that takes notes. What it looks like is for the
 * browsers' tests.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Card, CardEvents, CardOptions, CardveilOptions, PartOptions } from "../src/api.ts";
import type { MarqetaOptions } from "../src/marqeta.ts";

interface Made {
  from: string | undefined;
  place: CardveilOptions;
  options: CardOptions;
  parts: Record<string, { into: string; options: PartOptions }>;
  handlers: Map<string, (detail: unknown) => void>;
  destroyed: boolean;
}
const made: Made[] = vi.hoisted(() => []);

vi.mock("../src/cardveil.ts", () => ({
  cardveilFrom: (from: string | undefined) => (place: CardveilOptions) => ({
    card(options: CardOptions): Card {
      const card: Made = { from, place, options, parts: {}, handlers: new Map(), destroyed: false };
      made.push(card);
      const mount = (target: Element, part = "card", options: PartOptions = {}) => {
        card.parts[part] = { into: target.id, options };
        return () => {};
      };
      return {
        mount: mount as Card["mount"],
        on: <E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void) => {
          card.handlers.set(event, handler as (detail: unknown) => void);
          return () => {};
        },
        update: () => {},
        reveal: () => {},
        hide: () => {},
        destroy: () => void (card.destroyed = true),
      };
    },
  }),
}));

const ADDRESS = "https://cards.example.com/sdk/v1/marqeta.js";
let warned: ReturnType<typeof vi.spyOn>;

async function load(address = `${ADDRESS}?embed=emb_1`, embed?: string): Promise<void> {
  const script = document.createElement("script");
  script.type = "inert";
  script.src = address;
  if (embed !== undefined) script.dataset["embed"] = embed;
  vi.spyOn(Document.prototype, "currentScript", "get").mockReturnValue(script);
  vi.resetModules();
  await import("../src/marqeta.ts");
}

function bootstrap(options: MarqetaOptions): Made {
  window.marqeta?.bootstrap(options);
  const card = made.at(-1);
  if (card === undefined) throw new Error("there is no card");
  return card;
}

beforeEach(() => {
  made.length = 0;
  vi.useFakeTimers();
  warned = vi.spyOn(console, "warn").mockImplementation(() => {});
  document.body.innerHTML =
    '<div id="pan"></div><div id="exp"></div><div id="cvv"></div><button><i id="copy"></i></button>';
});
afterEach(() => void vi.useRealTimers());

const showPan = {
  cardPan: { domId: "pan", format: true },
  cardExp: { domId: "exp", format: true },
  cardCvv: { domId: "cvv" },
};

describe("bootstrap", () => {
  it("takes the shape of version 2, and shows all of it at once", async () => {
    await load();
    const copyCardPan = { domId: "copy", mode: "transparent" };
    const card = bootstrap({
      clientAccessToken: "cvt_test_1",
      component: { showPan: { ...showPan, copyCardPan } },
    });
    expect(card).toMatchObject({
      from: `${ADDRESS}?embed=emb_1`,
      place: { embed: "emb_1" },
      options: {
        token: "cvt_test_1",
        fields: ["pan", "expiry", "cvv"],
        masked: false,
        copy: ["pan"],
        hideAfter: 300,
      },
      parts: {
        pan: { into: "pan", options: { transparent: false } },
        expiry: { into: "exp" },
        cvv: { into: "cvv" },
        "copy-pan": { into: "copy", options: { transparent: true } },
      },
    });
    expect(warned).not.toHaveBeenCalled();
  });

  it("takes the shape of version 1", async () => {
    await load(ADDRESS, "emb_2");
    const card = bootstrap({
      clientAccessToken: "t",
      integrationType: "custom",
      showPan: { cardPan: { domId: "pan" } },
    } as MarqetaOptions);
    expect(card).toMatchObject({
      place: { embed: "emb_2" },
      options: { fields: ["pan"], copy: [] },
      parts: { pan: { into: "pan" } },
    });
  });

  it("gives copying a button for the expiry and the CVV too", async () => {
    await load();
    const card = bootstrap({
      clientAccessToken: "t",
      showPan: {
        copyCardExp: { domId: "exp" },
        copyCardCvv: { domId: "cvv", mode: "transparent" },
      },
    });
    expect(card).toMatchObject({
      options: { fields: ["expiry", "cvv"], copy: ["expiry", "cvv"] },
      parts: {
        "copy-expiry": { options: { transparent: false } },
        "copy-cvv": { options: { transparent: true } },
      },
    });
  });

  it("reads what a page says itself, and nothing from `Object.prototype` or an element of some name", async () => {
    await load(ADDRESS, "emb_2");
    const wishes = {
      showPan: { cardCvv: { domId: "cvv" } },
      component: {},
      callbackEvents: { onSuccess: "text" },
      cardCvv: { domId: "cvv" },
      copyCardPan: { domId: "copy" },
      mode: "transparent",
      styles: { color: "#ff0000" },
      onCopySuccess: "text",
      embed: "emb_evil",
    };
    try {
      for (const [name, value] of Object.entries(wishes))
        Object.defineProperty(Object.prototype, name, {
          value,
          configurable: true,
          writable: true,
        });
      Object.defineProperty(document, "getElementById", {
        value: document.createElement("img"),
        configurable: true,
      });
      const card = bootstrap({
        clientAccessToken: "t",
        showPan: { cardPan: { domId: "pan" }, copyCardExp: { domId: "exp" } },
      });
      expect(card.place).toEqual({ embed: "emb_2" });
      expect(card.options.fields).toEqual(["pan", "expiry"]);
      expect(card.parts).toEqual({
        pan: { into: "pan", options: { appearance: { text: {} }, transparent: false } },
        "copy-expiry": { into: "exp", options: { appearance: { text: {} }, transparent: false } },
      });
      expect(() => {
        card.handlers.get("revealed")?.({ fields: ["pan"] });
        card.handlers.get("copied")?.({ field: "expiry" });
      }).not.toThrow();
    } finally {
      Reflect.deleteProperty(document, "getElementById");
      for (const name of Object.keys(wishes)) Reflect.deleteProperty(Object.prototype, name);
    }
  });

  it("ends the card that was in the same place", async () => {
    await load();
    bootstrap({ clientAccessToken: "a", component: { showPan } });
    bootstrap({ clientAccessToken: "b", component: { showPan: { cardPan: { domId: "pan" } } } });
    expect(made.map(({ destroyed }) => destroyed)).toEqual([true, false]);
  });
});

describe("callbacks", () => {
  it("hear of success once, and of a failure", async () => {
    await load();
    const callbackEvents = { onSuccess: vi.fn(), onFailure: vi.fn() };
    const { handlers } = bootstrap({
      clientAccessToken: "t",
      component: { showPan },
      callbackEvents,
    });
    handlers.get("revealed")?.({ fields: ["pan"] });
    handlers.get("revealed")?.({ fields: ["cvv"] });
    expect(callbackEvents.onSuccess).toHaveBeenCalledOnce();
    handlers.get("error")?.(Object.assign(new Error("It has expired."), { code: "token_refused" }));
    vi.runAllTimers();
    expect(callbackEvents.onFailure).toHaveBeenCalledWith(
      expect.objectContaining({ message: "It has expired." }),
    );
  });

  it("hear of each copy, whether it worked", async () => {
    await load();
    const copyCardPan = { domId: "copy", onCopySuccess: vi.fn(), onCopyFailure: vi.fn() };
    const copyCardCvv = { domId: "cvv", onCopySuccess: vi.fn(), onCopyFailure: vi.fn() };
    const { handlers } = bootstrap({
      clientAccessToken: "t",
      component: { showPan: { ...showPan, copyCardPan, copyCardCvv } },
    });
    handlers.get("copied")?.({ field: "pan" });
    handlers.get("warning")?.({ code: "copy_failed", message: "Copy it by hand.", field: "cvv" });
    expect(
      [copyCardPan.onCopySuccess, copyCardPan.onCopyFailure, copyCardCvv.onCopySuccess].map(
        ({ mock }) => mock.calls.length,
      ),
    ).toEqual([1, 0, 0]);
    expect(copyCardCvv.onCopyFailure).toHaveBeenCalledWith(
      expect.objectContaining({ message: "Copy it by hand." }),
    );
  });

  it("succeed with what the card has, and the console names what it has not (engrid#324)", () => {
    const onSuccess = vi.fn();
    const onFailure = vi.fn();
    const options = {
      clientAccessToken: "t",
      component: { showPan },
      callbackEvents: { onSuccess, onFailure },
    };
    const { handlers } = bootstrap(options);
    handlers.get("revealed")?.({ fields: ["pan", "expiry"] });
    handlers.get("warning")?.({
      code: "field_missing",
      message: "CVV is not available on this card.",
      field: "cvv",
    });
    expect([onSuccess, onFailure].map(({ mock }) => mock.calls.length)).toEqual([1, 0]);
    expect(warned).toHaveBeenCalledWith("Cardveil: CVV is not available on this card.");
  });

  it.each<[string, string, object]>([
    ["has no embed", ADDRESS, { showPan }],
    [
      "names no element of the page",
      `${ADDRESS}?embed=emb_1`,
      { showPan: { cardPan: { domId: "nowhere" } } },
    ],
    ["shows nothing", `${ADDRESS}?embed=emb_1`, { showPan: {} }],
    ["has no component", `${ADDRESS}?embed=emb_1`, {}],
  ])("hear of a call that %s, after it", async (_, address, component) => {
    await load(address);
    const onFailure = vi.fn();
    window.marqeta?.bootstrap({ clientAccessToken: "t", component, callbackEvents: { onFailure } });
    expect(onFailure).not.toHaveBeenCalled();
    vi.runAllTimers();
    expect(onFailure).toHaveBeenCalledWith(
      expect.objectContaining({ code: "bad_option", message: expect.any(String) }),
    );
    expect(made.flatMap(({ parts }) => Object.keys(parts))).toEqual([]);
  });
});

describe("styles", () => {
  const text = (styles: unknown) =>
    bootstrap({
      clientAccessToken: "t",
      component: { showPan: { cardPan: { domId: "pan", styles } } } as MarqetaOptions["component"] &
        object,
    }).parts["pan"]?.options.appearance?.text;

  it("come with an element's name or without, in either way of writing", async () => {
    await load();
    for (const styles of [
      { span: { "font-size": "20px", "font-weight": "700" } },
      { "font-size": "20px", fontWeight: 700 },
    ]) {
      expect(text(styles)).toEqual({ fontSize: 20, fontWeight: 700 });
    }
    expect(
      text({
        color: "rgb(255, 0, 16)",
        "letter-spacing": "2px",
        "font-size": "20px",
        "text-align": "right",
      }),
    ).toEqual({ color: "#ff0010", letterSpacing: 0.1, fontSize: 20, textAlign: "end" });
    expect(warned).not.toHaveBeenCalled();
    expect(document.querySelector("#pan")?.children).toHaveLength(0);
  });

  it("that a frame does not take over are left out, and told once", async () => {
    await load();
    const styles = {
      background: "url(https://evil.example/leak)",
      span: { position: "fixed", color: "rgba(0, 0, 0, 0.5)" },
      "input:focus": { color: "red" },
    };
    expect(text(styles)).toEqual({});
    expect(text(styles)).toEqual({});
    expect(warned).toHaveBeenCalledTimes(4);
  });

  it("stay within what a frame takes", async () => {
    await load();
    expect(text({ "font-size": "500px" })).toEqual({ fontSize: 48 });
  });
});

it("copies nothing for a script, and says why once", async () => {
  await load();
  expect(window.marqeta?.copyToClipboard("pan")).toBe(false);
  expect(window.marqeta?.copyToClipboard("pan")).toBe(false);
  expect(warned).toHaveBeenCalledOnce();
  expect(warned).toHaveBeenCalledWith(expect.stringContaining("copyCardPan"));
});
