/**
 * What was seen of the card on phones and with keyboards, and is not to be seen again.
 *
 * Counts as a failure: a name that is cut; a thing that moves when the card comes, hides or comes
 * again; a target that a thumb misses; a text too small to read; a click that does what nobody
 * meant.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type Browser,
  itNeeds,
  launch,
  type Look,
  name,
  type Visit,
} from "../src/browsers/index.ts";
import type { Locator, Page } from "../src/browsers/page.ts";
import { Cardholder, press } from "../src/cardholder.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { Visits } from "../src/visits.ts";

let demo: Demo;
let browser: Browser;
/** In front of the gallery. */
let visits: Visits;
let leave: (() => Promise<void>)[] = [];

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
  visits = new Visits(browser);
});
afterAll(async () => {
  await visits?.leave();
  await browser?.close();
  await demo?.stop();
});
afterEach(async () => {
  await Promise.all(leave.splice(0).map((run) => run()));
});

async function arrive(look: Partial<Look> = {}): Promise<Cardholder> {
  const cardholder = await Cardholder.arriveIn(visits, demo, { reducedMotion: "reduce", ...look });
  leave.push(() => cardholder.leave());
  return cardholder;
}

/** A specimen of the gallery, as the whole page. */
async function specimen(
  of: string,
  width: number,
  lang = "en",
  look: Partial<Look> = {},
): Promise<Visit> {
  const visit = await visits.like({
    viewport: { width, height: 420 },
    reducedMotion: "reduce",
    ...look,
  });
  await visit.page.goto(`${demo.shop_url}/gallery/specimen?of=${of}&lang=${lang}`);
  await visit.page.locator(":root[data-drawn]").waitFor({ state: "attached" });
  return visit;
}

/**
 * Specimens of the gallery, each in a frame of this width, all on one page of their own origin,
 * which can look into them. A frame's name is what it shows.
 */
async function specimens(
  ofs: readonly string[],
  width: number,
  langs: readonly string[],
  look: Partial<Look> = {},
): Promise<Page> {
  const { page } = await visits.like({
    viewport: { width: 640, height: 900 },
    reducedMotion: "reduce",
    ...look,
  });
  await page.goto(`${demo.shop_url}/gallery?only=none`);
  const shown = langs.flatMap((lang) => ofs.map((of) => ({ of, lang })));
  const drawn = await page.evaluate(
    ({ shown, width }) =>
      Promise.all(
        shown.map(async ({ of, lang }) => {
          const frame = document.createElement("iframe");
          frame.name = `${of} ${lang}`;
          frame.src = `/gallery/specimen?of=${of}&lang=${lang}`;
          frame.style.cssText = `width: ${width}px; height: 420px`;
          const loaded = new Promise((done) => (frame.onload = done));
          document.body.append(frame);
          await loaded;
          const { innerWidth, document: inside } = frame.contentWindow as Window;
          return innerWidth === width && inside.documentElement.dataset["drawn"] !== undefined;
        }),
      ),
    { shown, width },
  );
  expect(drawn).toEqual(shown.map(() => true));
  return page;
}

/** Frames of specimens that are drawn, at another width. */
const widen = (page: Page, width: number): Promise<void> =>
  page.evaluate(async (width) => {
    const frames = [...document.querySelectorAll("iframe")];
    for (const { style } of frames) style.width = `${width}px`;
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    if (frames.some(({ contentWindow }) => contentWindow?.innerWidth !== width))
      throw new Error(`not all frames are ${width} px wide`);
  }, width);

const box = (element: Locator) =>
  element.evaluate((element) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    return [left, top + scrollY, width, height].map(Math.round);
  });

describe.each([320, 390])("a name of 30 characters and more at %i px", (width) => {
  it.each(["states.13", "states.14"])(
    'was cut off ("A CARDHOL…"), and is whole: %s',
    async (of) => {
      const { page } = await specimen(of, width);
      const name = page.locator(`[data-testid="cardveil-name"]`);
      expect((await name.textContent())?.length).toBeGreaterThanOrEqual(30);
      const whole = await name.evaluate((name) => {
        const [inner, outer] = [name, name.closest(".face") as Element].map((element) =>
          element.getBoundingClientRect(),
        ) as [DOMRect, DOMRect];
        const { overflow, textOverflow } = getComputedStyle(name);
        const inside =
          inner.left >= outer.left &&
          inner.right <= outer.right &&
          inner.top >= outer.top &&
          inner.bottom <= outer.bottom;
        return {
          inside,
          wide: name.scrollWidth <= Math.ceil(inner.width),
          high: name.scrollHeight <= Math.ceil(inner.height) + 1,
          overflow,
          textOverflow,
        };
      });
      expect(whole).toEqual({
        inside: true,
        wide: true,
        high: true,
        overflow: "visible",
        textOverflow: "clip",
      });
    },
  );
});

it.each([320, 375, 1100])(
  "hiding moved the last four by 50 px, and moves nothing at %i px",
  async (width) => {
    const ada = await arrive({ viewport: { width, height: 900 } });
    await ada.show();
    const four = () => box(ada.frame.locator(".digits .group").last());
    const frame = () => box(ada.by("cardveil-frame"));
    const shown = [await four(), await frame()];
    await press(ada.in("hide"));
    await ada.in("show").waitFor();
    expect([await four(), await frame()]).toEqual(shown);
    await ada.in("show").press("Enter");
    await ada.in("hide").waitFor();
    expect([await four(), await frame()]).toEqual(shown);
  },
);

describe("the page below", () => {
  it.each([320, 375, 480, 1100])(
    "moved when the card came, and stays where it is at %i px",
    (width) => stays({ viewport: { width, height: 900 } }),
  );
  itNeeds("font size")("moved where the browser is told to write in 20 px, and stays", () =>
    stays({ viewport: { width: 375, height: 900 }, fontSize: 20 }),
  );
  itNeeds("font size")("moved where the browser is told to write in 24 px, and stays", () =>
    stays({ viewport: { width: 1100, height: 900 }, fontSize: 24 }),
  );

  async function stays(look: Look): Promise<void> {
    const ada = await arrive(look);
    const token = await ada.token(demo.cards[0]?.card_no ?? "");
    const { client_url: clientUrl, embed } = demo;
    const heights = await ada.page.evaluate(
      async ({ clientUrl, embed, token }) => {
        const { Cardveil } = await window.load(`${clientUrl}/sdk/v1/cardveil.js`);
        const card = Cardveil({ embed }).card({ token });
        const shown = new Promise<void>((done) => card.on("revealed", () => done()));
        card.mount("#card");
        const frame = document.querySelector("#card iframe") as HTMLElement;
        const height = () => frame.getBoundingClientRect().height;
        const heights = [height()];
        new ResizeObserver(() => heights.push(height())).observe(frame);
        frame.scrollIntoView({ block: "nearest" });
        await shown;
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        return heights;
      },
      { clientUrl, embed, token },
    );
    expect(new Set(heights).size, heights.join()).toBe(1);
  }
});

/** Shown, masked, shown by a click, hidden, failed; and the parts that can be pressed. */
const PRESSED = [
  "states.1",
  "states.6",
  "states.7",
  "states.16",
  "failures.3",
  "parts.7",
  "parts.8",
  "parts.11",
  "parts.14",
];

it.each(PRESSED)(
  "targets were of 28 px and labels of 11, and are of 44 and 12 or more: %s",
  async (of) => {
    const { page } = await specimen(of, 320);
    const found = await page.evaluate(() => {
      const small: string[] = [];
      for (const button of document.querySelectorAll("button")) {
        const { left, top, width, height } = button.getBoundingClientRect();
        const [x, y] = [left + width / 2, top + height / 2];
        // 21 px from the middle; what lies outside of the window cannot be asked for.
        for (const [dx, dy] of [
          [-21, 0],
          [21, 0],
          [0, -21],
          [0, 21],
        ] as const) {
          const hit = document.elementFromPoint(x + dx, y + dy);
          if (hit === null || !button.contains(hit))
            small.push(`${button.dataset["testid"]} ${dx},${dy}`);
        }
      }
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (texts.nextNode() !== null) {
        const around = texts.currentNode.parentElement;
        if (
          around === null ||
          around.closest("script, .unseen") !== null ||
          texts.currentNode.textContent?.trim() === ""
        )
          continue;
        if (Number.parseFloat(getComputedStyle(around).fontSize) < 12)
          small.push(`text ${texts.currentNode.textContent}`);
      }
      return { small, pressed: document.querySelectorAll("button").length > 0 };
    });
    expect(found).toEqual({ small: [], pressed: true });
  },
);

/** Loading, shown, shown whole, masked, shown by clicks, copied, hidden as asked and by time. */
const SCENES = [0, 1, 2, 6, 7, 9, 15, 16].map((at) => `states.${at}`);

it.each(["en", "de", "fr", "ar", "ja"])(
  "the card jumped by 23 px, the CVV's button was cut and a masked number wrapped at 320 px: %s",
  async (lang) => {
    const page = await specimens(SCENES, 320, [lang]);
    const seen = await page.evaluate(() =>
      [...document.querySelectorAll("iframe")].map(({ name, contentDocument }) => {
        const inside = contentDocument as Document;
        const face = (inside.querySelector(".face") as Element).getBoundingClientRect();
        const cut = [...inside.querySelectorAll("button, .value, .masked")].filter((one) => {
          const { left, right } = one.getBoundingClientRect();
          return left < face.left || right > face.right;
        });
        const lines = new Set(
          [...inside.querySelectorAll(".digits .group")].map(
            (group) => group.getBoundingClientRect().top,
          ),
        );
        const { height } = (inside.querySelector("main") as Element).getBoundingClientRect();
        return [name, { cut: cut.length, lines: lines.size, height: Math.round(height) }];
      }),
    );
    expect(seen).toEqual(SCENES.map((of) => [`${of} ${lang}`, { cut: 0, lines: 1, height: 300 }]));
  },
);

/** How high the cards of specimens are, in their order. */
const heights = (page: Page): Promise<number[]> =>
  page.evaluate(() =>
    [...document.querySelectorAll("iframe")].map(({ contentDocument }) => {
      const main = contentDocument?.querySelector("main") as Element;
      return Math.round(main.getBoundingClientRect().height);
    }),
  );

it("a Japanese label took two lines at 280 px, and leaves the card as high as its place", async () => {
  expect(await heights(await specimens(SCENES, 280, ["ja"]))).toEqual(SCENES.map(() => 300));
});

/** As above, with what can no longer be shown, and what was not copied. */
const SENTENCES = [0, 1, 5, 7, 10, 15, 16, 17].map((at) => `states.${at}`);
const LANGUAGES = ["en", "de", "fr", "es", "pt", "ar", "ja", "zh"];
/** All of these on one page, which the first test draws. */
let sentences: Page | undefined;

it.each([280, 300, 320, 375, 480])(
  '"can no longer be shown" added 13 px on phones, as did hidden notes in small ones, and two buttons a field 38: %i px',
  async (width) => {
    sentences ??= await specimens(SENTENCES, width, LANGUAGES);
    await widen(sentences, width);
    const all = await heights(sentences);
    const moved = LANGUAGES.map((lang, at) => ({
      lang,
      heights: all.slice(at * SENTENCES.length, (at + 1) * SENTENCES.length),
    })).filter(({ heights }) => new Set(heights).size !== 1);
    expect(moved).toEqual([]);
  },
);

/** Every scene, failures, and the parts that hold words. */
const LARGE = [
  ...Array.from({ length: 18 }, (_, at) => `states.${at}`),
  ...[3, 5, 6, 8, 11].map((at) => `failures.${at}`),
  ...[7, 11, 14].map((at) => `parts.${at}`),
];

/** By specimen, the texts and buttons that are cut by what they stand in, or lie on others. */
const misplaced = async (page: Page): Promise<Record<string, string[]>> => {
  const found = await page.evaluate(() =>
    [...document.querySelectorAll("iframe")].map(({ name, contentDocument }) => {
      const inside = contentDocument as Document;
      const main = inside.querySelector("main") as Element;
      const seen: [what: string, element: Element, box: DOMRect][] = [];
      const texts = inside.createTreeWalker(main, NodeFilter.SHOW_TEXT);
      while (texts.nextNode() !== null) {
        const { currentNode: text } = texts;
        const around = text.parentElement as HTMLElement;
        if (around.closest(".unseen") !== null) continue;
        const range = inside.createRange();
        range.selectNodeContents(text);
        for (const box of range.getClientRects())
          seen.push([String(text.textContent), around, box]);
      }
      for (const button of main.querySelectorAll("button"))
        seen.push([String(button.dataset["testid"]), button, button.getBoundingClientRect()]);
      const wrong: string[] = [];
      const { scrollWidth } = inside.documentElement;
      if (scrollWidth > (inside.defaultView as Window).innerWidth)
        wrong.push("wider than its frame");
      seen.forEach(([what, element, box], index) => {
        const outer = (element.closest(".face") ?? main).getBoundingClientRect();
        const cut = [
          outer.left - box.left,
          box.right - outer.right,
          outer.top - box.top,
          box.bottom - outer.bottom,
        ];
        if (Math.max(...cut) > 1) wrong.push(`cut: ${what}`);
        for (const [other, its, where] of seen.slice(index + 1)) {
          if (element.contains(its) || its.contains(element)) continue;
          const across = Math.min(box.right, where.right) - Math.max(box.left, where.left);
          const down = Math.min(box.bottom, where.bottom) - Math.max(box.top, where.top);
          if (across > 1.5 && down > 1.5) wrong.push(`${what} lies on ${other}`);
        }
      });
      return [name, wrong] as const;
    }),
  );
  return Object.fromEntries(found.filter(([, wrong]) => wrong.length > 0));
};

describe.each<[string, number, Partial<Look>]>([
  ["told to write in 24 px", 320, { fontSize: 24 }],
  ["told to write in 32 px", 280, { fontSize: 32 }],
  ["told to write in no less than 24 px", 280, { leastFontSize: 24 }],
  ["at 200 %", 280, { deviceScaleFactor: 2 }],
])("a browser %s, in a place of %i px,", (_, width, look) => {
  const test = look.deviceScaleFactor === undefined ? itNeeds("font size") : it;
  for (const lang of ["de", "ja"])
    test(`cut "American Express", laid notes on buttons, and does not: ${lang}`, async () => {
      expect(await misplaced(await specimens(LARGE, width, [lang], look))).toEqual({});
    });
});

it.each(SCENES.slice(1, 5))(
  "the face cut the CVV's button below 212 px, and cuts nothing at 200 px: %s",
  async (of) => {
    const { page } = await specimen(of, 200, "de");
    const cut = await page.evaluate(() => {
      const face = (document.querySelector(".face") as Element).getBoundingClientRect();
      return [...document.querySelectorAll(".face button, .value, .face .masked, .digits")]
        .map((one) => one.getBoundingClientRect())
        .filter(
          ({ left, right, bottom }) =>
            left < face.left || right > face.right || bottom > face.bottom,
        ).length;
    });
    expect(cut).toBe(0);
  },
);

it.each(["states.1", "states.6", "states.7", "states.15"])(
  "an expiry broke after its stroke, and stays on its line at 200 px: %s",
  async (of) => {
    const { page } = await specimen(of, 200);
    const lines = await page.locator(".expiry dd :is(.value, .masked)").evaluate((expiry) => {
      const range = document.createRange();
      range.selectNodeContents(expiry);
      return new Set([...range.getClientRects()].map(({ top }) => top)).size;
    });
    expect(lines).toBe(1);
  },
);

it.each(["states.1", "states.16", "failures.3"])(
  "a browser told to write in 24 px wrote no larger, and does: %s",
  async (of) => {
    const { page } = await specimen(of, 375);
    const sizes = () =>
      page
        .locator("main")
        .evaluate((main) =>
          [...main.querySelectorAll("button, .note, .countdown, .title, .advice, dt, dd")].map(
            (text) => Number.parseFloat(getComputedStyle(text).fontSize),
          ),
        );
    const before = await sizes();
    // What `rem` is, as the browser's own setting makes it.
    await page.evaluate(() => document.documentElement.style.setProperty("font-size", "24px"));
    expect(await sizes()).toEqual(before.map((size) => size * 1.5));
    const digits = page.locator(".digits");
    if ((await digits.count()) > 0)
      expect(
        await digits.evaluate((digits) => Number.parseFloat(getComputedStyle(digits).fontSize)),
      ).toBeGreaterThanOrEqual(18);
  },
);

it.runIf(name === "chromium")(
  "forced colours indented parts by 4 px, where nobody knows what lies behind",
  async () => {
    const { page } = await specimen("parts.0", 320, "en", { forcedColors: "active" });
    await page.evaluate(() => document.documentElement.classList.add("plate"));
    expect((await box(page.locator(".group").first()))[0]).toBe(0);
  },
);

it("the shop broke between the dots and the last four at 320 px, and wrote no larger than 16 px", async () => {
  const ada = await arrive({ viewport: { width: 320, height: 800 } });
  const broken = await ada.page.evaluate(() => {
    const range = document.createRange();
    return [...document.querySelectorAll(".facts")]
      .filter(({ firstChild }) => {
        const length = firstChild?.textContent?.length ?? 0;
        range.setStart(firstChild as Node, length - 7);
        range.setEnd(firstChild as Node, length);
        return new Set([...range.getClientRects()].map(({ top }) => top)).size > 1;
      })
      .map(({ textContent }) => textContent);
  });
  expect(broken).toEqual([]);
  const size = () =>
    ada.page
      .locator(".facts")
      .first()
      .evaluate((facts) => getComputedStyle(facts).fontSize);
  expect(await size()).toBe("14px");
  await ada.page.evaluate(() => document.documentElement.style.setProperty("font-size", "24px"));
  expect(await size()).toBe("21px");
});

it('the focus fell to BODY on "Show card details", and stays in the card', async () => {
  const ada = await arrive();
  await ada.show();
  await press(ada.in("hide"));
  await ada.in("show").waitFor();
  await ada.frame.evaluate(() => {
    const lost: string[] = [];
    Object.assign(window, { lost });
    new MutationObserver(() => {
      if (document.activeElement === document.body)
        lost.push(document.querySelector<HTMLElement>(".card")?.dataset["state"] ?? "");
    }).observe(document.body, { childList: true, subtree: true });
  });
  await ada.in("show").press("Enter");
  await ada.in("hide").waitFor();
  expect(await ada.frame.evaluate(() => (window as unknown as { lost: string[] }).lost)).toEqual(
    [],
  );
  expect(
    await ada.frame.evaluate(() => (document.activeElement as HTMLElement).dataset["testid"]),
  ).toBe("cardveil-hide");
});

it('a double click on the demo\'s "Show my card" opened the wallet dialog, and shows the card', async () => {
  const ada = await arrive();
  await ada.page.evaluate(
    () =>
      new Promise<void>((done) => {
        const show = document.querySelector("[data-testid=show-card]") as HTMLElement;
        show.scrollIntoView({ block: "center" });
        const { left, top, width, height } = show.getBoundingClientRect();
        show.click();
        // The second click, on whatever is in the place by then. A frame later may be a second later
        // where the machine is busy, and is no double click.
        new MutationObserver((_, observer) => {
          if (!show.hidden) return;
          observer.disconnect();
          (document.elementFromPoint(left + width / 2, top + height / 2) as HTMLElement).click();
          done();
        }).observe(show, { attributes: true });
      }),
  );
  await ada.in("hide").waitFor();
  expect(await ada.by("wallet").evaluate((dialog) => (dialog as HTMLDialogElement).open)).toBe(
    false,
  );
});

it("the demo on a phone began with a list cut off, and begins with the card and its button", async () => {
  const ada = await arrive({ viewport: { width: 375, height: 812 } });
  const [show, list] = await Promise.all([
    box(ada.by("show-card")),
    box(ada.page.locator(".cards")),
  ]);
  expect((show[1] ?? 0) + (show[3] ?? 0)).toBeLessThan(812);
  expect(list[1]).toBeGreaterThan(show[1] ?? 0);
  expect(
    await ada.page.locator(".cards").evaluate((cards) => cards.scrollHeight <= cards.clientHeight),
  ).toBe(true);
});
