import { describe, expect, it } from "vitest";
import { LANGUAGES } from "../../frame/src/words/all.ts";
import { notice } from "../src/notice.ts";
import { sorryIn } from "../src/sorry.ts";

describe("the notice in the place of a lost frame", () => {
  it.each(Object.entries(LANGUAGES))(
    "was English in %s, and says what a frame says",
    (lang, words) => {
      expect(sorryIn(`${lang.toUpperCase()}-XX`)).toEqual({
        lang,
        unreachable: words.errors.unavailable[0],
        offline: words.errors.offline[0],
        retry: words.labels.retry,
      });
    },
  );

  it.each(["tlh", "", "toString", "__proto__"])("is English for %j", (locale) => {
    expect(sorryIn(locale)).toEqual(sorryIn("en"));
  });

  it("goes by its own direction and language, whatever the page's are", () => {
    const box = notice("لا", "إعادة", "ar", "dark", () => {});
    expect([box.dir, box.lang]).toEqual(["auto", "ar"]);
    expect(box.style.getPropertyValue("color-scheme")).toBe("dark");
  });

  it("was smaller than a browser was told to write, and names no size in pixels", () => {
    for (const element of [...notice("a", "b", "en", "light", () => {}).children] as HTMLElement[])
      expect(element.style.getPropertyValue("font") || element.style.fontSize).toMatch(/medium/);
  });
});
