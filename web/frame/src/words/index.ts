import type { Label } from "@cardveil/protocol";
import { de } from "./de.ts";
import { en, type Words } from "./en.ts";

export type { FrameError, Words } from "./en.ts";

/** To add a language: its file beside `en.ts`, and its line here. */
const LANGUAGES: Record<string, Words> = { en, de };
const RIGHT_TO_LEFT = new Set(["ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"]);

export interface Speech extends Words {
  /** The language of the words, which is English where we do not speak the page's. */
  lang: string;
  dir: "ltr" | "rtl";
}

/**
 * The words for a locale such as `de-CH`. The page's own labels come first; a page that brings them
 * brings its language with them, so the frame is then marked as that language.
 */
export function wordsFor(locale: string, labels: Partial<Record<Label, string>>): Speech {
  const language = locale.toLowerCase().split("-", 1)[0] ?? "";
  const words = LANGUAGES[language] ?? en;
  const foreign = Object.keys(labels).length > 0;
  return {
    labels: { ...words.labels, ...labels },
    errors: words.errors,
    lang: foreign || language in LANGUAGES ? locale : "en",
    dir: foreign && RIGHT_TO_LEFT.has(language) ? "rtl" : "ltr",
  };
}

export function fill(template: string, slot: string, value: string | number): string {
  return template.replace(`{${slot}}`, () => String(value));
}
