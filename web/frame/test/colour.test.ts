import { expect, it } from "vitest";
import { contrast, faceOf, inkOn, parse } from "../src/colour.ts";

it("knows the contrast of black on white", () => {
  expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 5);
  expect(contrast(parse("#767676"), parse("#ffffff"))).toBeCloseTo(4.54, 2);
});

it("keeps 4.5:1 between the ink and both ends of the face, for any accent", () => {
  const steps = Array.from({ length: 18 }, (_, i) => (i * 15).toString(16).padStart(2, "0"));
  for (const r of steps) {
    for (const g of steps) {
      for (const b of steps) {
        const { from, to, ink } = faceOf(`#${r}${g}${b}`);
        expect(contrast(parse(from), parse(ink))).toBeGreaterThanOrEqual(4.5);
        expect(contrast(parse(to), parse(ink))).toBeGreaterThanOrEqual(4.5);
      }
    }
  }
});

it("finds an ink of 4.5:1 for any ground, and keeps the one at hand where it will do", () => {
  expect(inkOn([1, 1, 1], "#17181c")).toBe("#17181c");
  expect(inkOn([0.07, 0.07, 0.08], "#17181c")).toBe("#ffffff");
  for (let step = 0; step < 4096; step += 1) {
    const ground = [step >> 8, (step >> 4) & 15, step & 15].map((value) => value / 15);
    const on = ground.map((value) => value * 255) as [number, number, number];
    for (const ink of ["#17181c", "#abacb3"])
      expect(contrast(on, parse(inkOn(ground, ink)))).toBeGreaterThanOrEqual(4.5);
  }
});
