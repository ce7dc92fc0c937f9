import type { Field, Label } from "@cardveil/protocol";
import type { FrameError, Sentence, Words } from "./en.ts";

export type { FrameError, Words } from "./en.ts";

/** The words that the server wrote into the page, and the language that they are in. */
export interface Spoken extends Words {
  lang: string;
}

export interface Speech extends Spoken {
  dir: "ltr" | "rtl";
}

const RIGHT_TO_LEFT = new Set(["ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"]);

/**
 * The words for a locale such as `de-CH`. The page's own labels come first; a page that brings them
 * brings its language with them, so the frame is then marked as that language.
 */
export function wordsFor(
  spoken: Spoken,
  locale: string,
  labels: Partial<Record<Label, string>>,
): Speech {
  const foreign = Object.keys(labels).length > 0;
  const lang = foreign || languageOf(locale) === spoken.lang ? locale : spoken.lang;
  return {
    labels: { ...spoken.labels, ...labels },
    errors: spoken.errors,
    lang,
    dir: RIGHT_TO_LEFT.has(languageOf(lang)) ? "rtl" : "ltr",
  };
}

export function fill(template: string, slot: string, value: string | number): string {
  return template.replace(`{${slot}}`, () => String(value));
}

/**
 * A label of the words with a field's name in it, small unless it comes first or is all capitals.
 */
export function about(
  speech: Speech,
  label: "copyField" | "showField" | "hideField" | "fieldGone" | "fieldAbsent",
  field: Field,
): string {
  const template = speech.labels[label];
  const name = nameOf(speech, field);
  const small =
    template.startsWith("{") || /^\p{Lu}\p{Lu}/u.test(name)
      ? name
      : name.charAt(0).toLowerCase() + name.slice(1);
  return fill(template, "field", small);
}

/** Of what a frame has no words for, the page is not set up for it. */
export const sentenceOf = ({ errors }: Speech, { code }: { code: string }): Sentence =>
  errors[code as FrameError] ?? errors.invalid_request;

export const nameOf = ({ labels }: Speech, field: Field): string =>
  labels[field === "pan" ? "number" : field];

export const languageOf = (locale: string) => locale.toLowerCase().split("-", 1)[0] ?? "";
