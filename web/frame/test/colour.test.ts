import { expect, it } from "vitest";
import { contrast, faceOf, parse } from "../src/colour.ts";

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
