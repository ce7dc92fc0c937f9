/**
 * What of a page's CSS a frame takes over: an allow-list, because style sheets can leak what they
 * style.
 *
 * The page's own browser reads the values, in the page's own element, so `var()`, names of colours
 * and `em` mean what they mean there.
 */
import { bare } from "@cardveil/protocol";
import type { CardAppearance } from "./api.ts";
import { append, native } from "./document.ts";
import { warnOnce } from "./error.ts";

type Text = NonNullable<CardAppearance["text"]>;

/** `{ "font-size": "20px" }`, or `{ span: { ... } }` as in Marqeta.js. */
export function textStyle(styles: unknown, at: Element): Text {
  const probe = append(at, native("createElement")("span"));
  try {
    const text: Text = bare({});
    // All of them first: a length in em depends on the font's size.
    const given = [...declarations(styles)];
    for (const [property, value] of given) probe.style.setProperty(property, value);
    for (const [property, value] of given) {
      const read = probe.style.getPropertyValue(property) === "" ? undefined : READ[property];
      if (read === undefined || !read(getComputedStyle(probe), text))
        warnOnce(`the style "${property}: ${value}" is left out`);
    }
    return text;
  } finally {
    probe.remove();
  }
}

function* declarations(styles: unknown): Generator<[property: string, value: string]> {
  for (const [name, value] of Object.entries((styles ?? {}) as object)) {
    if (typeof value !== "object" || value === null)
      yield [name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), String(value)];
    else if (name === "span") yield* declarations(value);
    else warnOnce(`the styles of "${name}" are left out`);
  }
}

/** Each puts into the text what the frame can take, and answers whether it could. */
const READ: Record<string, (style: CSSStyleDeclaration, text: Text) => boolean> = bare({
  color(style, text) {
    // Opaque sRGB, as browsers write any colour of that kind.
    const parts = /^rgb\((\d+), (\d+), (\d+)\)$/.exec(style.color);
    if (parts === null) return false;
    text.color = `#${parts
      .slice(1)
      .map((part) => Number(part).toString(16).padStart(2, "0"))
      .join("")}`;
    return true;
  },
  "font-size": (style, text) =>
    number(parseFloat(style.fontSize), 8, 48, (value) => (text.fontSize = value)),
  "font-weight": (style, text) =>
    number(Number(style.fontWeight), 100, 900, (value) => (text.fontWeight = value)),
  "letter-spacing": (style, text) =>
    number(em(style.letterSpacing, style), -0.05, 0.5, (value) => (text.letterSpacing = value)),
  "line-height": (style, text) =>
    number(em(style.lineHeight, style), 1, 3, (value) => (text.lineHeight = value)),
  "text-align"(style, text) {
    const [start, end] = style.direction === "rtl" ? ["right", "left"] : ["left", "right"];
    const { textAlign } = style;
    text.textAlign =
      textAlign === "center"
        ? "center"
        : textAlign === end || textAlign === "end"
          ? "end"
          : "start";
    return [start, end, "start", "end", "center"].includes(textAlign);
  },
});

const em = (length: string, { fontSize }: CSSStyleDeclaration) =>
  length === "normal" ? NaN : parseFloat(length) / parseFloat(fontSize);

/** Within what a frame takes; a little outside becomes the nearest that it does. */
function number(value: number, min: number, max: number, set: (value: number) => void): boolean {
  if (Number.isNaN(value)) return false;
  set(Math.min(Math.max(Math.round(value * 1000) / 1000, min), max));
  return true;
}
