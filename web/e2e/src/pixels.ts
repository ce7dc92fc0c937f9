/** What stands in a picture: the contrast that eyes get, whatever styles say. */
import { readFile } from "node:fs/promises";
import { PNG } from "pngjs";

type Rgb = [number, number, number];
export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

export const pictureIn = async (path: string): Promise<PNG> => PNG.sync.read(await readFile(path));

/** WCAG's contrast of what stands in a box with what most of the box is. */
export function contrastIn(picture: PNG, { left, top, width, height }: Box): number {
  if (left < 0 || top < 0 || left + width > picture.width || top + height > picture.height)
    throw new Error("the box is not within the picture");
  const seen = new Map<number, number>();
  for (let y = Math.floor(top); y < top + height; y += 1) {
    for (let x = Math.floor(left); x < left + width; x += 1) {
      const colour = picture.data.readUInt32BE((y * picture.width + x) * 4) >>> 8;
      seen.set(colour, (seen.get(colour) ?? 0) + 1);
    }
  }
  const ground = [...seen].sort(([, a], [, b]) => b - a)[0]?.[0];
  if (ground === undefined) throw new Error("there is nothing in the box");
  return Math.max(...[...seen.keys()].map((colour) => contrast(rgb(colour), rgb(ground))));
}

const rgb = (colour: number): Rgb => [colour >> 16, (colour >> 8) & 255, colour & 255];

function contrast(a: Rgb, b: Rgb): number {
  const [dark = 0, light = 0] = [a, b].map(luminance).sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(rgb: Rgb): number {
  const [r = 0, g = 0, b = 0] = rgb.map((value) =>
    value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
