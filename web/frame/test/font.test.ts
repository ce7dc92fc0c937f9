import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { loadFont } from "../src/font.ts";

const INTER = {
  name: "inter",
  url: "/embed/fonts/inter-0123456789abcdef.woff2",
  weight: "100 900",
  style: "normal",
};
const ITALIC = { ...INTER, url: "/embed/fonts/inter-fedcba9876543210.woff2", style: "italic" };

let loads: unknown[][];
let added: unknown[];
let broken = false;

beforeEach(() => {
  loads = [];
  added = [];
  broken = false;
  vi.stubGlobal(
    "FontFace",
    class {
      constructor(...what: unknown[]) {
        loads.push(what);
      }
      load() {
        return broken ? Promise.reject(new TypeError("no such file")) : Promise.resolve(this);
      }
    },
  );
  Object.defineProperty(document, "fonts", {
    configurable: true,
    value: { add: (face: unknown) => added.push(face) },
  });
});
afterEach(() => void vi.unstubAllGlobals());

it.each([undefined, "system"])("loads nothing for %s", async (name) => {
  expect(await loadFont([INTER], name)).toBe(true);
  expect(loads).toEqual([]);
});

it("loads each face of a registered font from our own origin", async () => {
  expect(await loadFont([INTER, ITALIC, { ...INTER, name: "other" }], "inter")).toBe(true);
  expect(loads).toEqual([
    ["inter", `url("${INTER.url}")`, { weight: "100 900", style: "normal", display: "swap" }],
    ["inter", `url("${ITALIC.url}")`, { weight: "100 900", style: "italic", display: "swap" }],
  ]);
  expect(added).toHaveLength(2);
});

it("tells that a font is not registered, or does not load", async () => {
  expect(await loadFont([INTER], "evil")).toBe(false);
  expect(loads).toEqual([]);
  broken = true;
  expect(await loadFont([INTER], "inter")).toBe(false);
  expect(added).toEqual([]);
});
