import { LABELS } from "@cardveil/protocol";
import { expect, it } from "vitest";
import { LANGUAGES } from "../src/words/all.ts";
import { about, fill, wordsFor as spoken } from "../src/words/index.ts";
import { wordsOf } from "./world.ts";

const wordsFor = (locale: string, labels: Parameters<typeof spoken>[2]) =>
  spoken(wordsOf(locale.slice(0, 2)), locale, labels);

it.each(Object.keys(LANGUAGES))("says everything in %s, with the slots in place", (locale) => {
  const english = wordsFor("en", {});
  const { labels, errors } = wordsFor(locale, {});
  for (const label of LABELS) {
    expect(labels[label]).not.toBe("");
    expect(labels[label].match(/\{\w+\}/g)).toEqual(english.labels[label].match(/\{\w+\}/g));
  }
  // They cross to the page as one sentence, whose length the protocol bounds.
  for (const [title, advice] of Object.values(errors))
    expect(`${title}. ${advice}`.length).toBeLessThanOrEqual(300);
});

it("marks the words with the language they are in", () => {
  expect(wordsFor("de-CH", {})).toMatchObject({
    lang: "de-CH",
    dir: "ltr",
    labels: { hide: "Verbergen" },
  });
  expect(wordsFor("ar-EG", {})).toMatchObject({
    lang: "ar-EG",
    dir: "rtl",
    labels: { hide: "إخفاء" },
  });
  expect(spoken(wordsOf("en"), "he", {})).toMatchObject({
    lang: "en",
    dir: "ltr",
    labels: { hide: "Hide" },
  });
  expect(spoken(wordsOf("en"), "he", { hide: "הסתר" })).toMatchObject({
    lang: "he",
    dir: "rtl",
    labels: { hide: "הסתר" },
  });
});

it("fills a slot with what it is given, and nothing else", () => {
  expect(fill("Hides in {seconds} s", "seconds", 5)).toBe("Hides in 5 s");
  expect(fill("Reference: {id}", "id", "$&")).toBe("Reference: $&");
});

it("puts a field's name into a sentence as the language writes it", () => {
  expect(about(wordsFor("en", {}), "showField", "pan")).toBe("Show card number");
  expect(about(wordsFor("en", {}), "copyField", "cvv")).toBe("Copy CVV");
  expect(about(wordsFor("de", {}), "copyField", "pan")).toBe("Kartennummer kopieren");
  expect(about(wordsFor("en", {}), "fieldGone", "cvv")).toMatch(/^CVV can no longer be shown\./);
});
