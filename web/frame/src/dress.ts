import type { Appearance, Color } from "@cardveil/protocol";
import { faceOf } from "./colour.ts";
import type { Speech } from "./words/index.ts";

/** Puts language, direction and looks on the document. What a page may change is in `Appearance`, and nothing else. */
export function dress({ lang, dir, labels }: Speech, { theme, radius, accent, colors = {}, text = {}, font }: Appearance): void {
  const { documentElement: html } = document;
  document.title = labels.card;
  html.lang = lang;
  html.dir = dir;
  html.dataset["theme"] = theme;
  const set = (name: string, value: string | number | undefined, unit = "") => {
    if (value !== undefined) html.style.setProperty(name, `${value}${unit}`);
  };
  set("--radius", radius, "px");
  if (accent !== undefined) {
    const { from, to, ink } = faceOf(accent);
    set("--face-from", from);
    set("--face-to", to);
    set("--face-ink", ink);
    set("--sheen", "transparent"); // it would cost the contrast that faceOf made sure of
  }
  for (const [name, color] of Object.entries(colors) as [Color, string][]) set(VARIABLES[name], color);
  set("--text-color", text.color);
  set("--text-size", text.fontSize, "px");
  set("--text-weight", text.fontWeight);
  set("--text-spacing", text.letterSpacing, "em");
  set("--text-height", text.lineHeight);
  set("--text-align", text.textAlign);
  if (font !== undefined && font !== "system") set("--font", `"${font}"`);
}

const VARIABLES: Record<Color, string> = {
  ink: "--ink",
  inkSoft: "--ink-soft",
  line: "--line",
  control: "--control",
  panel: "--panel",
};
