import type { Appearance, Color, Ground } from "@cardveil/protocol";
import { faceOf, inkOn } from "./colour.ts";
import type { Speech } from "./words/index.ts";

/**
 * Puts language, direction and looks on the document. What a page may change is in `Appearance`,
 * and nothing else.
 */
export function dress({ lang, dir, labels }: Speech, appearance: Appearance): void {
  const { radius, accent, colors = {}, text = {}, font } = appearance;
  given = appearance;
  document.title = labels.card;
  html.lang = lang;
  html.dir = dir;
  const set = (name: string, value: string | number | undefined, unit = "") => {
    if (value === undefined) html.style.removeProperty(name);
    else html.style.setProperty(name, `${value}${unit}`);
  };
  set("--radius", radius, "px");
  const face = accent === undefined ? undefined : faceOf(accent);
  set("--face-from", face?.from);
  set("--face-to", face?.to);
  set("--face-ink", face?.ink);
  set("--sheen", face && "transparent"); // it would cost the contrast that faceOf made sure of
  for (const [name, variable] of Object.entries(VARIABLES) as [Color, string][])
    set(variable, colors[name]);
  set("--text-color", text.color);
  set("--text-size", text.fontSize, "px");
  set("--text-weight", text.fontWeight);
  set("--text-spacing", text.letterSpacing, "em");
  set("--text-height", text.lineHeight);
  set("--text-align", text.textAlign);
  set("--font", font === undefined || font === "system" ? undefined : `"${font}"`);
  stand();
}

const html = document.documentElement;
let ground: Ground | undefined;
let given: Appearance | undefined;

/**
 * Puts ink on what the page says that this document stands on: the scheme's own where it can be
 * read there, else black or white, and on a plate where nobody knows what lies behind. What the
 * page chose itself stays.
 */
export function stand(told = ground): void {
  ground = told;
  const { theme = "auto", colors = {}, text = {} } = given ?? {};
  const on = theme === "auto" ? ground : undefined;
  const scheme = on?.scheme ?? theme;
  if (scheme !== "auto") html.dataset["theme"] = scheme;
  html.classList.toggle(
    "plate",
    on !== undefined && on.color === undefined && (text.color ?? colors.ink) === undefined,
  );
  for (const [name, variable] of INKS) {
    // The frame's controls and panels bring their own ground, and keep the scheme's own ink.
    const ink =
      on?.color && !(name in colors)
        ? inkOn(on.color, getComputedStyle(html).getPropertyValue(variable).trim())
        : "";
    html.style.setProperty(`--ground${variable.slice(1)}`, ink);
  }
}

const VARIABLES: Record<Color, string> = {
  ink: "--ink",
  inkSoft: "--ink-soft",
  line: "--line",
  control: "--control",
  panel: "--panel",
};

/** What stands on the ground. */
const INKS = [
  ["ink", "--ink"],
  ["inkSoft", "--ink-soft"],
  ["accent", "--accent"],
  ["bad", "--bad"],
] as const;
