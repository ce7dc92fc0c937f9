import { describe, expect, it, vi } from "vitest";
import type { CardOptions, CardveilOptions, PartOptions } from "../src/api.ts";
import { parseOptions, parsePart, parsePlace } from "../src/options.ts";

const embed = "emb_1";
const served = "https://cards.example.com/sdk/v1/cardveil.js";

describe("where the frame lives", () => {
  it.each<[CardveilOptions, string | undefined, string]>([
    [{ embed }, served, "https://cards.example.com/embed/emb_1"],
    [{ embed, clientUrl: "http://127.0.0.1:7420" }, undefined, "http://127.0.0.1:7420/embed/emb_1"],
    [
      { embed, clientUrl: "https://cards.example.com/" },
      "https://shop.example/app.js",
      "https://cards.example.com/embed/emb_1",
    ],
  ])("%j from %s", (options, script, frameUrl) => {
    expect(parsePlace(options, script)).toEqual({
      origin: new URL(frameUrl).origin,
      embed,
      frameUrl,
      doctor: expect.any(Function),
    });
  });

  it.each<[string, unknown, string | undefined]>([
    ["embed", {}, served],
    ["embed", undefined, served],
    ["embed", { embed: "emb_/../evil" }, served],
    ["embed", { embed: 1 }, served],
    // A bundled copy comes from the shop's own origin, which has no frames to offer.
    ["clientUrl", { embed }, "https://shop.example/assets/app.js"],
    ["clientUrl", { embed }, undefined],
    ["clientUrl", { embed, clientUrl: "cards.example.com" }, served],
    ["clientUrl", { embed, clientUrl: "javascript:alert(1)" }, served],
    ["clientUrl", { embed, clientUrl: "https://cards.example.com/base" }, served],
  ])("refuses a wrong %s: %j", (option, options, script) => {
    expect(() => parsePlace(options as CardveilOptions, script)).toThrow(
      expect.objectContaining({
        code: "bad_option",
        retryable: false,
        message: expect.stringContaining(`"${option}"`),
      }),
    );
  });
});

describe("what a card is to be", () => {
  it("has defaults", () => {
    document.documentElement.lang = "de-AT";
    expect(parseOptions({ token: "cvt_test_1" })).toEqual({
      token: "cvt_test_1",
      renewable: false,
      fields: ["pan", "expiry", "cvv", "name"],
      appearance: { theme: "auto" },
      locale: "de-AT",
      hideAfter: 60,
      copy: ["pan"],
      masked: ["cvv"],
      labels: {},
      title: undefined,
      timeouts: { frame: 20, token: 30 },
    });
    document.documentElement.lang = "";
    expect(parseOptions({ token: async () => "t" })).toMatchObject({
      renewable: true,
      locale: "en",
    });
  });

  it.each(["copy", "masked"] as const)("takes %s as a yes or no", (option) => {
    expect(parseOptions({ token: "t", [option]: true })[option]).toEqual([
      "pan",
      "expiry",
      "cvv",
      "name",
    ]);
    expect(parseOptions({ token: "t", [option]: false })[option]).toEqual([]);
  });

  it.each<[string, unknown, inner?: string]>([
    ["token", undefined],
    ["token", ""],
    ["token", 1],
    ["fields", []],
    ["fields", ["pin"]],
    ["fields", "pan"],
    ["appearance", "dark"],
    ["locale", "english!"],
    ["hideAfter", 4],
    ["hideAfter", 301],
    ["hideAfter", "60"],
    ["copy", ["pin"]],
    ["masked", "pan"],
    ["labels", { hide: "" }, ".hide"],
    ["title", ""],
    ["timeouts", { frame: 4 }, ".frame"],
    ["timeouts", { token: 121 }, ".token"],
    ["timeouts", { frame: "30" }, ".frame"],
    ["title", 1],
  ])("refuses a wrong %s: %j", (option, value, inner = "") => {
    const options = { token: "t", [option]: value } as CardOptions;
    expect(() => parseOptions(options)).toThrow(
      expect.objectContaining({
        code: "bad_option",
        message: expect.stringContaining(`"${option}${inner}"`),
      }),
    );
  });
});

it.each([
  ["theme", { theme: "neon" }],
  ["accent", { radius: 4, accent: "red" }],
  ["text.fontSize", { text: { color: "#000000", fontSize: 500 } }],
  ["colors.ink", { colors: { ink: "black" } }],
  ["text", { text: "large" }],
])("a wrong appearance named no member, and names %s", (member, appearance) => {
  expect(() => parseOptions({ token: "t", appearance } as CardOptions)).toThrow(
    expect.objectContaining({
      code: "bad_option",
      message: expect.stringContaining(`"appearance.${member}"`),
    }),
  );
});

describe("a name that no option has", () => {
  it.each<[string, string, object]>([
    ["hideafter", "hideAfter", { hideafter: 5 }],
    ["appearance.foo", "accent", { appearance: { foo: 1 } }],
    ["appearance.colors.inc", "ink", { appearance: { colors: { inc: "#000000" } } }],
    ["appearance.text.size", "fontSize", { appearance: { text: { size: 12 } } }],
    ["timeouts.frm", "frame", { timeouts: { frm: 10 } }],
  ])("passed silently, and is told once with the right ones: %s", (name, right, options) => {
    const warn = vi.spyOn(console, "warn").mockReturnValue();
    for (let i = 0; i < 2; i += 1) parseOptions({ token: "t", ...options } as CardOptions);
    expect(warn.mock.calls).toEqual([[expect.stringContaining(`"${name}"`)]]);
    expect(warn.mock.calls[0]?.[0]).toContain(right);
    warn.mockRestore();
  });

  it("is told of the place and of a part as well, and of none that is right", () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue();
    parsePlace({ embed, clienturl: "https://cards.example" } as CardveilOptions, served);
    parsePart("pan", { appearence: {} } as PartOptions);
    parsePart("pan", { title: "Number", transparent: false, appearance: { radius: 2 } });
    expect(warn.mock.calls.flat()).toEqual([
      expect.stringContaining('"clienturl"'),
      expect.stringContaining('"appearence"'),
    ]);
    warn.mockRestore();
  });
});
