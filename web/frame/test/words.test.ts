import { LABELS } from "@cardveil/protocol";
import { expect, it } from "vitest";
import { fill, wordsFor } from "../src/words/index.ts";

it.each(["en", "de"])("says everything in %s, with the slots in place", (locale) => {
  const english = wordsFor("en", {});
  const { labels, errors } = wordsFor(locale, {});
  for (const label of LABELS) {
    expect(labels[label]).not.toBe("");
    expect(labels[label].match(/\{\w+\}/g)).toEqual(english.labels[label].match(/\{\w+\}/g));
  }
  // They cross to the page as one sentence, whose length the protocol bounds.
  for (const [title, advice] of Object.values(errors)) expect(`${title}. ${advice}`.length).toBeLessThanOrEqual(300);
});

it("marks the words with the language they are in", () => {
  expect(wordsFor("de-CH", {})).toMatchObject({ lang: "de-CH", dir: "ltr", labels: { hide: "Verbergen" } });
  expect(wordsFor("ar", {})).toMatchObject({ lang: "en", dir: "ltr", labels: { hide: "Hide" } });
  expect(wordsFor("ar", { hide: "إخفاء" })).toMatchObject({ lang: "ar", dir: "rtl", labels: { hide: "إخفاء" } });
});

it("fills a slot with what it is given, and nothing else", () => {
  expect(fill("Hides in {seconds} s", "seconds", 5)).toBe("Hides in 5 s");
  expect(fill("Reference: {id}", "id", "$&")).toBe("Reference: $&");
});
