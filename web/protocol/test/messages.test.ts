import { describe, expect, it } from "vitest";
import {
  connect,
  ERROR_CODES,
  type ForFrame,
  type ForPage,
  hello,
  isHello,
  parseConnect,
  parseForFrame,
  parseForPage,
  WARNING_CODES,
} from "../src/index.ts";

const NONCE = "3e9f1f0e-7a57-4c9e-8a50-0d8d4b1c2f11";
const configure: ForFrame = {
  type: "configure",
  fields: ["pan", "expiry", "cvv", "name"],
  appearance: {
    theme: "dark",
    accent: "#0b6E4f",
    radius: 12,
    font: "system",
    label: "Saltmarsh & Co",
  },
  locale: "de-CH",
  hideAfter: 60,
  copy: ["pan", "name"],
  masked: ["cvv"],
  labels: { hide: "Weg damit" },
  renewable: true,
};
const part: ForFrame = {
  type: "part",
  part: "copy-pan",
  group: NONCE,
  appearance: {
    theme: "auto",
    font: "inter-2",
    design: "tide-2",
    colors: { ink: "#000000", panel: "#ffffff" },
    text: {
      color: "#123456",
      fontSize: 18,
      fontWeight: 500,
      letterSpacing: 0.1,
      lineHeight: 1.5,
      textAlign: "end",
    },
  },
  locale: "ar",
  labels: {},
  transparent: true,
};

const forFrame: ForFrame[] = [
  configure,
  { ...configure, group: NONCE },
  part,
  { type: "ground", scheme: "dark" },
  { type: "ground", scheme: "light", color: [1, 0.5, 0] },
  { type: "update" },
  {
    type: "update",
    appearance: { theme: "dark", radius: 3 },
    locale: "fr",
    labels: { hide: "Fini" },
    hideAfter: 30,
    copy: [],
  },
  { type: "token", token: "cvt_test_0123456789abcdef" },
  { type: "noToken" },
  { type: "reveal" },
  { type: "hide" },
  { type: "destroy" },
];
const forPage: ForPage[] = [
  { type: "ready", nonce: NONCE, title: "Your card" },
  { type: "title", title: "Ihre Karte" },
  { type: "needToken" },
  { type: "revealed", fields: ["pan", "name"] },
  { type: "hidden" },
  { type: "copied", field: "pan" },
  { type: "expired" },
  ...ERROR_CODES.map((code): ForPage => ({
    type: "error",
    code,
    message: "Try again.",
    retryable: false,
  })),
  {
    type: "error",
    code: "internal",
    message: "Try again.",
    retryable: true,
    requestId: "req_7Q-2.x",
  },
  ...WARNING_CODES.map((code): ForPage => ({ type: "warning", code, message: "Copy it by hand." })),
  { type: "size", height: 325 },
  { type: "size", height: 24, baseline: 18.5 },
];

/** What a hostile window may send, and what no parser may accept or choke on. */
const hostile: unknown[] = [
  ...[
    undefined,
    null,
    true,
    0,
    NaN,
    1n,
    "",
    "reveal",
    Symbol.iterator,
    [],
    {},
    () => "reveal",
    new Map([["type", "reveal"]]),
  ],
  Object.create({ type: "reveal" }),
  Object.create({ cardveil: 1, type: "hello" }),
  Object.defineProperty({}, "type", {
    get: () => {
      throw new Error("gotcha");
    },
  }),
  new Proxy(
    {},
    {
      getOwnPropertyDescriptor: () => {
        throw new Error("gotcha");
      },
    },
  ),
  { type: "__proto__" },
  { type: "constructor" },
  { type: ["reveal"] },
  { type: { toString: () => "reveal" } },
  { type: "REVEAL" },
  ...[
    {},
    { scheme: "auto" },
    { scheme: "light", color: "#ffffff" },
    { scheme: "light", color: [0, 0] },
    { scheme: "light", color: [0, 0, NaN] },
    { scheme: "light", color: [0, 0, 9] },
    { scheme: "light", color: { length: 3 } },
  ].map((ground) => ({ type: "ground", ...ground })),
  { type: "token" },
  { type: "token", token: "" },
  { type: "token", token: "a b" },
  { type: "token", token: "a\u0000" },
  { type: "token", token: "x".repeat(257) },
  { type: "token", token: ["cvt_test_x"] },
  ...[
    [],
    ["pin"],
    ["pan", "pan", "pan", "pan", "pan"],
    "pan",
    { 0: "pan", length: 1 },
    [["pan"]],
  ].map((fields) => ({ ...configure, fields })),
  ...[
    null,
    { theme: "neon" },
    { accent: "red" },
    { accent: "#fff" },
    { accent: "url(//evil.example)" },
    { accent: "#0b6e4f;}" },
    { radius: -1 },
    { radius: 33 },
    { radius: "12" },
    { radius: NaN },
    { font: "Evil" },
    { font: 'a"' },
    { design: "Tide" },
    { design: "../tide" },
    { label: "" },
    { label: "x".repeat(25) },
    { label: "a\nb" },
    { colors: { ink: "red" } },
    { colors: null },
    { text: { fontSize: 500 } },
    { text: { color: "#fff;" } },
    { text: { textAlign: "justify" } },
    { text: { letterSpacing: 2 } },
  ].map((appearance) => ({ ...configure, appearance })),
  ...["", "x", "en_US", "en-", "a".repeat(9), "<b>"].map((locale) => ({ ...configure, locale })),
  ...[0, 4, 301, Infinity, NaN, -60, "60"].map((hideAfter) => ({ ...configure, hideAfter })),
  ...[["pin"], "pan", true].flatMap((some) => [
    { ...configure, copy: some },
    { ...configure, masked: some },
  ]),
  ...["", "short", `${NONCE}<`, 1].flatMap((group) => [
    { ...configure, group },
    { ...part, group },
  ]),
  ...["copy", "pin", "", ["pan"], undefined].map((name) => ({ ...part, part: name })),
  { ...part, transparent: "yes" },
  ...[{ hide: "" }, { hide: 1 }, { hide: "x".repeat(301) }, { hide: "a\nb" }, null].map(
    (labels) => ({ ...configure, labels }),
  ),
  { ...configure, renewable: "yes" },
  ...[
    { appearance: { theme: "neon" } },
    { appearance: null },
    { locale: "en_US" },
    { labels: { hide: 1 } },
    { labels: null },
    { hideAfter: 301 },
    { copy: ["pin"] },
    { copy: true },
  ].map((change) => ({ type: "update", ...change })),
  Object.create({ type: "update" }),
  { type: "title" },
  { type: "title", title: "" },
  { type: "title", title: "a\nb" },
  { type: "ready" },
  { type: "ready", nonce: NONCE },
  { type: "ready", nonce: NONCE, title: "a\nb" },
  { type: "ready", nonce: "short", title: "Card" },
  { type: "ready", nonce: `${NONCE}<`, title: "Card" },
  { type: "revealed" },
  { type: "revealed", fields: ["4111111111111111"] },
  { type: "revealed", fields: 16 },
  { type: "copied", field: "4111111111111111" },
  { type: "copied", field: "pin" },
  { type: "warning", code: "internal", message: "m" },
  { type: "warning", code: "copy_failed" },
  { type: "error", code: "4111", message: "m", retryable: true },
  { type: "error", code: "internal", retryable: true },
  { type: "error", code: "internal", message: "m" },
  { type: "error", code: "internal", message: "m", retryable: true, requestId: "<script>" },
  ...[0, -1, 2001, NaN, "300", null].map((height) => ({ type: "size", height })),
  ...[-1, 2001, "3", null].map((baseline) => ({ type: "size", height: 20, baseline })),
  ...[{ cardveil: 2 }, { cardveil: "1" }, { cardveil: true }, {}].map((version) => ({
    ...version,
    type: "hello",
  })),
  { cardveil: 1 },
  { cardveil: 1, type: "connect" },
  { cardveil: 1, type: "connect", nonce: "" },
  { cardveil: 2, type: "connect", nonce: NONCE },
];

it("takes a token out of the white space around it", () => {
  for (const token of [" cvt_test_x\n", "\t\r\ncvt_test_x", "\ufeffcvt_test_x\u00a0"]) {
    expect(parseForFrame({ type: "token", token })).toEqual({ type: "token", token: "cvt_test_x" });
  }
});

describe("messages", () => {
  it.each(forFrame)("to the frame: $type", (message) => {
    expect(parseForFrame(structuredClone(message))).toEqual(message);
    expect(parseForPage(message)).toBeUndefined();
  });

  it.each(forPage)("to the page: $type", (message) => {
    expect(parseForPage(structuredClone(message))).toEqual(message);
    expect(parseForFrame(message)).toBeUndefined();
  });

  it("handshake", () => {
    expect(isHello(hello())).toBe(true);
    expect(parseConnect(connect(NONCE))).toEqual(connect(NONCE));
    expect(isHello(connect(NONCE))).toBeUndefined();
    expect(parseConnect(hello())).toBeUndefined();
  });

  it("drops what is hostile and never throws", () => {
    expect(hostile.length).toBeGreaterThan(80);
    for (const data of hostile) {
      for (const parse of [parseForFrame, parseForPage, parseConnect, isHello])
        expect(parse(data)).toBeUndefined();
    }
  });

  it("ignores fields it does not know, so that digits cannot ride along", () => {
    const pan = "4111111111111111";
    for (const message of forPage) {
      const seen = JSON.stringify(parseForPage({ ...message, pan, digits: 16, last_four: "1111" }));
      expect(seen).not.toContain("1111");
      expect(seen).not.toContain("16");
    }
    expect(parseForFrame({ ...configure, css: "@import '//evil.example'" })).toEqual(configure);
  });

  it("keeps fields in their own order and without repeats", () => {
    expect(parseForPage({ type: "revealed", fields: ["name", "pan", "name"] })).toEqual({
      type: "revealed",
      fields: ["pan", "name"],
    });
  });

  it("leave out of an update what no page may change", () => {
    const fixed = {
      token: "cvt_test_x",
      fields: ["pan"],
      masked: [],
      renewable: true,
      group: NONCE,
      part: "pan",
      transparent: true,
    };
    expect(parseForFrame({ type: "update", locale: "de", ...fixed })).toEqual({
      type: "update",
      locale: "de",
    });
  });

  it("fills in the theme alone", () => {
    expect(parseForFrame({ ...configure, appearance: {} })).toMatchObject({
      appearance: { theme: "auto" },
    });
  });
});
