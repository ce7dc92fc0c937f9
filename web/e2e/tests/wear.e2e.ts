/**
 * What the face of a card wears: the demo has a design for the product of two of its cards.
 *
 * Counts as a failure: a thing that moves when the pictures come; an ink without its pictures; a
 * picture from elsewhere than our own origin; digits that cannot be read on the design.
 */
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { type Browser, itNeeds, launch, type Look, name } from "../src/browsers/index.ts";
import { Cardholder, press } from "../src/cardholder.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { contrastIn, pictureIn } from "../src/pixels.ts";

let demo: Demo;
let browser: Browser;
let leave: (() => Promise<void>)[] = [];

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
});
afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});
afterEach(async () => {
  await Promise.all(leave.splice(0).map((run) => run()));
});

const PICTURES = /^\/embed\/designs\//;
const WORN = ':root[data-art="ink veil art logo"]';
const WHITE = "rgb(255, 255, 255)";

/** A card of the product that has the design. */
const designed = () => demo.cards.find(({ last_four }) => last_four === "1117")?.card_no ?? "";

async function arrive(look: Partial<Look> = {}): Promise<Cardholder> {
  const cardholder = await Cardholder.arrive(browser, demo, { reducedMotion: "reduce", ...look });
  leave.push(() => cardholder.leave());
  return cardholder;
}

async function shown(look: Partial<Look> = {}): Promise<Cardholder> {
  const cardholder = await arrive(look);
  await cardholder.show(designed());
  await within(cardholder, WORN).waitFor({ state: "attached" });
  return cardholder;
}

const within = (cardholder: Cardholder, css: string) =>
  cardholder.page.locator("[data-testid=cardveil-frame]").contentFrame().locator(css);

/** Where the frame has everything that is on the face, and with which ink. */
const face = (cardholder: Cardholder) =>
  cardholder.frame.evaluate(() => ({
    places: [".face", ".number .digits", ".details dd", ".network", ".bar"].map((part) => {
      const { left, top, width, height } = (
        document.querySelector(part) as Element
      ).getBoundingClientRect();
      return [part, left, top, width, height];
    }),
    ink: getComputedStyle(document.querySelector(".face") as Element).color,
    art: getComputedStyle(document.querySelector(".face") as Element).backgroundImage,
  }));

it("wears the design of its product, from our own origin alone", async () => {
  const cardholder = await shown();
  const { ink, art } = await face(cardholder);
  expect(ink).toBe("rgb(18, 50, 58)");
  expect(art).toMatch(/url\("http:\/\/127\.0\.0\.1:\d+\/embed\/designs\/[0-9a-f]{16}\.svg"\)/);
  const pictures = cardholder.wire.exchanges.filter(({ url }) => PICTURES.test(url.pathname));
  expect(pictures).toHaveLength(2);
  for (const { url, headers, status } of pictures) {
    expect(url.origin).toBe(demo.client_url);
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("image/svg+xml");
    expect(headers["content-security-policy"]).toContain("sandbox");
  }
  // It hides and comes again in it.
  await press(cardholder.in("hide"));
  await cardholder.in("show").waitFor();
  expect((await face(cardholder)).ink).toBe(ink);
});

it("moves nothing when the pictures come, and keeps its own look where they do not", async () => {
  const places = (await face(await shown())).places;
  const cardholder = await arrive();
  cardholder.wire.fault(PICTURES, async () => "cut");
  await cardholder.show(designed());
  await cardholder.wire.until(({ url }) => PICTURES.test(url.pathname));
  await cardholder.reported("displayed");
  const plain = await face(cardholder);
  expect(plain.ink).toBe(WHITE);
  expect(plain.art).not.toContain("url(");
  expect(plain.places).toEqual(places);
});

it("wears what its page asks for, where its product has no design", async () => {
  const cardholder = await arrive();
  const plain = demo.cards.find(({ last_four }) => last_four === "1111")?.card_no ?? "";
  const token = await cardholder.token(plain);
  await cardholder.mount({ token, appearance: { design: "tideline" } }, "revealed");
  await within(cardholder, WORN).waitFor({ state: "attached" });
});

it("leaves the cards of other products as they were", async () => {
  const cardholder = await arrive();
  await cardholder.show();
  expect(cardholder.wire.exchanges.some(({ url }) => PICTURES.test(url.pathname))).toBe(false);
  expect((await face(cardholder)).ink).toBe(WHITE);
});

it.each([
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["on a narrow phone", { viewport: { width: 320, height: 700 } }],
] as [string, Partial<Look>][])("can be read: %s", async (title, look) => {
  const cardholder = await shown(look);
  const frame = await cardholder.by("cardveil-frame").evaluate((frame) => {
    frame.scrollIntoView({ block: "center" });
    const { left, top } = frame.getBoundingClientRect();
    return { left, top };
  });
  const boxes = await cardholder.frame.evaluate(() =>
    [...document.querySelectorAll(".digits .group, dt, dd .value, .network")].map((element) => {
      const { left, top, width, height } = element.getBoundingClientRect();
      return { left, top, width, height };
    }),
  );
  const picture = `worn-${title.replaceAll(" ", "-")}`;
  await cardholder.picture(picture);
  const seen = await pictureIn(
    new URL(`../screenshots/${name}/${picture}.png`, import.meta.url).pathname,
  );
  expect(boxes.length).toBeGreaterThan(6);
  for (const { left, top, ...size } of boxes) {
    const box = { left: left + frame.left, top: top + frame.top, ...size };
    expect(contrastIn(seen, box)).toBeGreaterThan(4.5);
  }
});

itNeeds("forced colours")("shows no picture in forced colours", async () => {
  const cardholder = await shown({ forcedColors: "active" });
  const { art } = await face(cardholder);
  expect(art).not.toContain("url(");
  expect(await within(cardholder, ".network").textContent()).toBe("Discover");
});
