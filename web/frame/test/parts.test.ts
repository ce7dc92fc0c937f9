/**
 * A card in parts: one frame holds it, others show a part each. Counts as a failure: a part that is
 * told more than it shows, digits that stay in a part, a sibling that is let in without being one.
 */
import { type Configuration, FIELDS, type ForPage, type Part } from "@cardveil/protocol";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Card } from "../src/card.ts";
import { Cast } from "../src/cast.ts";
import { allowed, PartView } from "../src/part.ts";
import { Sighting } from "../src/sight.ts";
import { admitParts, type Drawing, join } from "../src/siblings.ts";
import { wordsFor } from "../src/words/index.ts";
import { CARD, CONFIG, problem, TOKEN, wordsOf, World } from "./world.ts";

const settings: Configuration = {
  fields: [...FIELDS],
  appearance: { theme: "auto" },
  locale: "en",
  hideAfter: 60,
  copy: ["pan", "expiry"],
  masked: ["cvv"],
  labels: {},
  renewable: true,
  group: "the-group-of-this-card",
};
const ALL = [
  "pan",
  "expiry",
  "cvv",
  "name",
  "copy-pan",
  "copy-expiry",
  "copy-cvv",
  "toggle",
  "countdown",
] as const satisfies Part[];

let world: World;
let cast: Cast;
let card: Card;
let heard: ForPage[];
let parts: Map<Part, { view: PartView; root: HTMLElement; drawings: Drawing[] }>;

function add(part: Part, transparent = false, sight = world.sight): void {
  const root = document.createElement("main");
  document.body.append(root);
  const speech = wordsFor(wordsOf("en"), "en", {});
  const view = new PartView(
    root,
    speech,
    { part, group: "g", appearance: { theme: "auto" }, locale: "en", labels: {}, transparent },
    { ...world, sight },
  );
  const [port1, port2] = channel();
  const drawings: Drawing[] = [];
  port2.addEventListener("message", ({ data }) => {
    if (data.type === "draw") drawings.push(data.drawing);
  });
  view.attach(port2);
  cast.admit(part, port1, sight.now);
  parts.set(part, { view, root, drawings });
}

/** A channel without the wait: what crosses it is cloned, as by a real one. */
function channel(): [MessagePort, MessagePort] {
  const ends = [0, 1].map(() => new Set<(event: { data: unknown }) => void>());
  const port = (at: number) => ({
    postMessage: (data: unknown) =>
      ends[1 - at]?.forEach((hear) => hear({ data: structuredClone(data) })),
    addEventListener: (type: string, hear: (event: { data: unknown }) => void) =>
      type === "message" && ends[at]?.add(hear),
    start: () => {},
    close: () => {},
  });
  return [port(0), port(1)] as unknown as [MessagePort, MessagePort];
}

/** Everything in the fake world is a promise, so a few tasks of the real loop bring it to rest. */
const settled = async () => {
  for (let i = 0; i < 5; i += 1) await new Promise((done) => setTimeout(done));
};
/** The next message of a type that the page hears. */
const next = (type: ForPage["type"]) => new Promise<void>((done) => awaited.push({ type, done }));
let awaited: { type: ForPage["type"]; done(): void }[];
const hear = (message: ForPage) => {
  heard.push(message);
  const index = awaited.findIndex(({ type }) => type === message.type);
  if (index >= 0) awaited.splice(index, 1)[0]?.done();
};
const of = (part: Part) => {
  const found = parts.get(part);
  if (found === undefined) throw new Error(`there is no ${part}`);
  return found;
};
const find = (part: Part, testid: string) =>
  of(part).root.querySelector<HTMLElement>(`[data-testid="cardveil-${testid}"]`);
const press = async (part: Part, testid: string, then?: ForPage["type"]) => {
  const heard = then === undefined ? undefined : next(then);
  find(part, testid)?.click();
  await heard;
  await settled();
};

beforeEach(async () => {
  document.body.replaceChildren();
  world = new World();
  cast = new Cast();
  heard = [];
  awaited = [];
  parts = new Map();
  card = new Card(
    CONFIG,
    {
      ...world,
      painted: cast.painted,
      sight: cast.sight,
      fetch: world.fetch,
      timer: world.timer,
      wait: world.wait,
      now: world.now,
    },
    cast,
    (message) => {
      hear(message);
      if (message.type === "needToken")
        queueMicrotask(() => card.receive({ type: "token", token: TOKEN }));
    },
  );
  card.receive({ type: "configure", ...settings });
  for (const part of ALL) add(part);
  const revealed = next("revealed");
  card.receive({ type: "reveal" });
  await revealed;
  await settled();
});
afterEach(() => card.destroy());

describe("a card in parts", () => {
  it("is redeemed once, and each part shows its own and is told nothing more", () => {
    expect(world.redeems).toHaveLength(1);
    expect(find("pan", "pan")?.textContent).toBe(CARD.pan);
    expect(find("expiry", "expiry")?.textContent).toBe("12/30");
    expect(find("name", "name")?.textContent).toBe(CARD.name);
    expect(find("countdown", "countdown")?.textContent).toBe("Hides in 60 s");
    const values = new Map(
      ALL.map((part) => [
        part,
        [
          ...new Set(
            of(part)
              .drawings.map(({ value }) => value)
              .filter((value) => value !== undefined),
          ),
        ],
      ]),
    );
    expect(Object.fromEntries(values)).toEqual({
      pan: [CARD.pan],
      expiry: ["12/30"],
      cvv: [],
      name: [CARD.name],
      "copy-pan": [CARD.pan],
      "copy-expiry": ["12/30"],
      "copy-cvv": [],
      toggle: [],
      countdown: [],
    });
  });

  it("speaks another language at once, and is told no value anew to anyone (update)", async () => {
    const before = [world.redeems.length, world.events.length];
    world.advance(20_000);
    card.receive({ type: "update", locale: "de", copy: [] });
    await settled();
    for (const part of ALL) of(part).view.speak(wordsFor(wordsOf("de"), "de", {}));
    expect(find("pan", "pan")?.textContent).toBe(CARD.pan);
    expect(find("countdown", "countdown")?.textContent).toBe("Noch 40 s sichtbar");
    expect(find("toggle", "hide")?.textContent).toBe(wordsOf("de").labels.hide);
    expect(find("copy-pan", "copy-pan")?.getAttribute("aria-disabled")).toBe("true");
    expect(of("copy-pan").drawings.at(-1)?.value).toBeUndefined();
    expect([world.redeems.length, world.events.length]).toEqual(before);
    // A part hides when it would have: not later for having been drawn again.
    expect(of("pan").drawings.at(-1)?.secs).toBe(40);
    await press("toggle", "hide", "hidden");
    expect(find("pan", "pan")).toBeNull();
  });

  it("is displayed once its parts have painted it", () => {
    expect(world.events).toEqual([{ redemption: "rdm_1", token: TOKEN, event: "displayed" }]);
  });

  it("is not confirmed while a field that was released is placed nowhere, and is once it is", async () => {
    card.destroy();
    world.events.length = 0;
    cast = new Cast();
    card = new Card(CONFIG, { ...world, painted: cast.painted }, cast, hear);
    card.receive({ type: "configure", ...settings, fields: ["pan", "name"] });
    add("name");
    card.receive({ type: "reveal" });
    const revealed = next("revealed");
    card.receive({ type: "token", token: `${TOKEN}2` });
    await revealed;
    await settled();
    expect(find("name", "name")?.textContent).toBe(CARD.name);
    expect(world.events).toEqual([]);
    add("pan");
    await settled();
    expect(world.events).toMatchObject([{ event: "displayed" }]);
  });

  it("fetches the CVV at the click in its own frame", async () => {
    expect(find("cvv", "cvv")).toBeNull();
    await press("cvv", "show-cvv", "revealed");
    expect(find("cvv", "cvv")?.textContent).toBe(CARD.cvv);
    expect(world.redeems.map(({ fields }) => fields)).toEqual([["pan", "expiry", "name"], ["cvv"]]);
    await press("cvv", "hide-cvv");
    expect(find("cvv", "cvv")).toBeNull();
    expect(of("cvv").root.innerHTML).not.toContain(CARD.cvv);
  });

  it("copies in the frame that was clicked, as far as page and embed allow (WebKit#68146)", async () => {
    await press("copy-pan", "copy-pan");
    await press("copy-expiry", "copy-expiry");
    await press("copy-cvv", "copy-cvv");
    expect(world.clipboard).toEqual([CARD.pan, "12/30"]);
    expect(heard.filter(({ type }) => type === "copied")).toEqual([
      { type: "copied", field: "pan" },
      { type: "copied", field: "expiry" },
    ]);
    expect(of("copy-pan").root.textContent).toContain("Copied");
  });

  it("warns when nothing was copied", async () => {
    world.canCopy = false;
    await press("copy-pan", "copy-pan");
    expect(heard.at(-1)).toMatchObject({ type: "warning", code: "copy_failed" });
    expect(of("pan").root.textContent).toContain("Copying did not work");
  });

  it("hides everywhere, and shows again", async () => {
    await press("toggle", "hide");
    for (const part of ALL)
      expect(of(part).root.outerHTML).not.toMatch(/4111|1 1 1 1, 1 1 1 1|12\/30|CARDHOLDER/);
    expect(of("pan").root.querySelector(".masked")?.getAttribute("aria-label")).toBe(
      "Card number ending in 1 1 1 1",
    );
    world.clipboard = [];
    await press("copy-pan", "copy-pan");
    expect(world.clipboard).toEqual([]);
    await press("toggle", "show", "revealed");
    expect(find("pan", "pan")?.textContent).toBe(CARD.pan);
    expect(heard.filter(({ type }) => type === "needToken")).toHaveLength(1);
  });

  it("moved what follows by 23 px in a narrow place, and says a word there that takes one line", async () => {
    vi.stubGlobal("innerWidth", 168);
    await press("toggle", "hide", "hidden");
    expect(find("toggle", "show")?.textContent).toBe("Show");
    expect(find("toggle", "show")?.getAttribute("aria-label")).toBe("Show card details");
    vi.unstubAllGlobals();
    await press("toggle", "show", "revealed");
    await press("toggle", "hide", "hidden");
    expect(find("toggle", "show")?.textContent).toBe("Show card details");
  });

  it("hides in every part when its time is over, and when the page destroys it", async () => {
    world.advance(60_000);
    await settled();
    expect(find("pan", "pan")).toBeNull();
    card.destroy();
    await settled();
    for (const part of ALL) expect(of(part).root.querySelector(".box")?.childElementCount).toBe(0);
  });

  it("says what happened once, in one part, and never a digit", () => {
    const said = ALL.map((part) => of(part).root.querySelector(".unseen")?.textContent).filter(
      (text) => text !== "",
    );
    expect(said).toEqual(["Card details shown"]);
  });

  it("has one part tell of a failure, and the toggle try again", async () => {
    card.receive({ type: "hide" });
    world.advance(60_000);
    world.fates = [problem(403, "origin_refused")];
    await press("toggle", "show", "error");
    expect(find("pan", "error")?.textContent).toContain("This page may not show your card");
    expect(of("pan").root.querySelector("[role=alert]")).not.toBeNull();
    expect(of("expiry").root.textContent).toBe("–");
    expect(find("toggle", "retry")?.getAttribute("aria-disabled")).toBe("true");
  });

  it("asks for one token for two fields that are clicked before it is there", async () => {
    card.destroy();
    card = new Card(CONFIG, { ...world, painted: cast.painted }, (cast = new Cast()), hear);
    card.receive({ type: "configure", ...settings, masked: [...FIELDS] });
    for (const part of ["pan", "name"] as const) add(part);
    card.receive({ type: "reveal" });
    heard.length = 0;
    await press("pan", "show-pan");
    await press("name", "show-name");
    expect(heard).toEqual([{ type: "needToken" }]);
    const both = Promise.all([next("revealed"), next("revealed")]);
    card.receive({ type: "token", token: `${TOKEN}2` });
    await both;
    await settled();
    expect(heard.slice(1)).toEqual(
      expect.arrayContaining([
        { type: "revealed", fields: ["pan"] },
        { type: "revealed", fields: ["name"] },
      ]),
    );
    expect(find("pan", "pan")?.textContent).toBe(CARD.pan);
    expect(find("name", "name")?.textContent).toBe(CARD.name);
    // They count from the first of them; without that a part would soon hide by itself.
    expect(of("pan").drawings.at(-1)?.secs).toBe(60);
  });

  it("shows a dash in the place of what the card has not, with its reason, and nothing to copy (engrid#324)", async () => {
    card.hide("asked");
    world.lacks = ["cvv", "name"];
    await press("toggle", "show", "revealed");
    expect(find("pan", "pan")?.textContent).toBe(CARD.pan);
    expect(of("name").root.textContent).toBe("–");
    expect(of("name").root.querySelector("[role=img]")?.getAttribute("aria-label")).toBe(
      "Cardholder is not available on this card.",
    );
    expect(of("cvv").root.textContent).toBe("–");
    expect(find("copy-cvv", "copy-cvv")?.getAttribute("aria-disabled")).toBe("true");
    const warnings = heard.filter((message) => message.type === "warning");
    expect(warnings.map(({ code, field }) => [code, field])).toEqual([
      ["field_missing", "cvv"],
      ["field_missing", "name"],
    ]);
    expect(world.events.filter(({ event }) => event === "displayed")).toHaveLength(2);
  });

  it("has another part speak when the page has taken the speaker away", async () => {
    of("pan").view.leave();
    world.fates.push(problem(403, "token_refused"));
    card.hide("asked");
    card.leave();
    card.reveal();
    card.receive({ type: "token", token: TOKEN });
    await settled();
    expect(find("name", "error")?.textContent).toContain(
      "Your card can no longer be opened from here",
    );
    expect(find("pan", "error")).toBeNull();
    expect(of("pan").drawings.at(-1)?.at).toBe("shown");
  });

  it("lets in so many parts and no more", () => {
    const ports = Array.from({ length: 70 }, () => ({
      postMessage: vi.fn(),
      addEventListener: () => {},
      start: () => {},
      close: vi.fn(),
    }));
    for (const port of ports) cast.admit("name", port as unknown as MessagePort, "unknown");
    expect(ports.filter(({ close }) => close.mock.calls.length > 0)).toHaveLength(
      70 - (64 - ALL.length),
    );
    expect(ports.at(-1)?.postMessage).not.toHaveBeenCalled();
  });

  it("shows a part that comes late", async () => {
    document.body.append(document.createElement("hr"));
    add("name");
    await settled();
    expect(find("name", "name")?.textContent).toBe(CARD.name);
  });
});

describe("a part", () => {
  it("takes its digits away by itself when nobody tells it to", () => {
    // Its own frame was left: it does not wait for the one that holds the card.
    of("pan").view.clear();
    expect(of("pan").root.outerHTML).not.toContain("4111");
    expect(of("pan").root.textContent).toContain("1111");
  });

  it("hides a little after the card's time when whoever holds it is gone", async () => {
    // A drawing of a holder that then falls silent.
    of("pan").view.draw({
      at: "shown",
      value: CARD.pan,
      lastFour: "1111",
      network: "visa",
      masked: false,
      enabled: false,
      secs: 5,
      alert: false,
    });
    world.advance(6_499);
    expect(find("pan", "pan")).not.toBeNull();
    world.advance(1);
    expect(find("pan", "pan")).toBeNull();
  });

  it("is without looks where the embed allows it, whatever the page says, which is told", () => {
    const asked = {
      part: "copy-pan",
      group: "g",
      appearance: { theme: "auto" },
      locale: "en",
      labels: {},
    } as const;
    const told: ForPage[] = [];
    const post = (message: ForPage) => void told.push(message);
    expect(allowed({ transparent: true }, { ...asked, transparent: true }, post)).toBe(true);
    expect(allowed({ transparent: true }, { ...asked, transparent: false }, post)).toBe(false);
    expect(allowed({ transparent: false }, { ...asked, transparent: false }, post)).toBe(false);
    expect(told).toEqual([]);
    expect(allowed({ transparent: false }, { ...asked, transparent: true }, post)).toBe(false);
    expect(told).toEqual([
      { type: "warning", code: "transparent_refused", message: expect.any(String) },
    ]);
  });

  it("is a button without looks when asked, and says what it does", () => {
    add("copy-pan", true);
    expect(of("copy-pan").root.className).toBe("part transparent");
    expect(find("copy-pan", "copy-pan")?.getAttribute("aria-label")).toBe("Copy card number");
  });

  it("has a short title of its own (braintree-web#545)", () => {
    expect(ALL.map((part) => of(part).view.title)).toEqual([
      "Card number",
      "Expiry",
      "CVV",
      "Cardholder",
      "Copy card number",
      "Copy expiry",
      "Copy CVV",
      "Show card details",
      "Your card",
    ]);
  });
});

describe("sight", () => {
  /** The same card from the start, in parts that their browser can look at. */
  async function hiddenParts(...names: Part[]): Promise<Map<Part, Sighting>> {
    card.destroy();
    document.body.replaceChildren();
    [world, cast, heard, awaited, parts] = [new World(), new Cast(), [], [], new Map()];
    const sights = new Map(names.map((name) => [name, new Sighting(() => world.time, "covered")]));
    card = new Card(
      CONFIG,
      { ...world, painted: cast.painted, sight: cast.sight },
      cast,
      (message) => {
        hear(message);
        if (message.type === "needToken")
          queueMicrotask(() => card.receive({ type: "token", token: TOKEN }));
      },
    );
    card.receive({ type: "configure", ...settings, fields: ["pan", "expiry"], masked: [] });
    for (const [name, sight] of sights) add(name, false, sight);
    card.receive({ type: "reveal" });
    await settled();
    return sights;
  }

  it("of none: nothing is asked for, and the page is told after a grace", async () => {
    await hiddenParts("pan", "expiry");
    expect(heard).toEqual([]);
    world.advance(1500);
    expect(heard).toEqual([
      expect.objectContaining({ type: "warning", code: "frame_covered", cause: "covered" }),
    ]);
    expect(world.redeems).toEqual([]);
    expect(of("pan").drawings.at(-1)?.says).toContain("covers your card");
  });

  it("of one is enough to begin, and of all that show a field to be displayed", async () => {
    const sights = await hiddenParts("pan", "expiry");
    const revealed = next("revealed");
    sights.get("pan")?.become("seen");
    await revealed;
    await settled();
    expect(world.redeems).toHaveLength(1);
    expect(world.events).toEqual([]);
    sights.get("expiry")?.become("seen");
    await settled();
    expect(world.events).toEqual([expect.objectContaining({ event: "displayed", visible: true })]);
  });

  it("of a copy button is looked at when it is clicked", async () => {
    const sights = await hiddenParts("pan", "copy-pan");
    const revealed = next("revealed");
    for (const sight of sights.values()) sight.become("seen");
    await revealed;
    await settled();
    // A page that uncovers the button under a finger that is on its way down.
    await press("copy-pan", "copy-pan", "warning");
    expect(world.clipboard).toEqual([]);
    world.advance(300);
    await press("copy-pan", "copy-pan", "copied");
    expect(world.clipboard).toEqual([CARD.pan]);
    expect(world.events.at(-1)).toMatchObject({ event: "copied", visible: true });
    sights.get("copy-pan")?.become("covered");
    await press("copy-pan", "copy-pan", "warning");
    expect(world.clipboard).toHaveLength(1);
  });

  it("of a part that says nothing of it, from before, keeps nobody waiting", () => {
    const another = new Cast();
    expect(another.sight.now).toBe("outside");
    const [port] = channel();
    another.admit("pan", port, "unknown");
    expect(another.sight.now).toBe("unknown");
  });
});

describe("siblings", () => {
  const admit = vi.fn();
  const sibling = { parent: window.parent, postMessage: vi.fn() };
  const say = (changes: object, data: object = {}) =>
    window.dispatchEvent(
      Object.assign(new Event("message"), {
        origin: location.origin,
        source: sibling,
        ports: [],
        data: {
          cardveil: 1,
          type: "join",
          group: "our-group-of-frames",
          embed: "emb_1",
          part: "pan",
          ...data,
        },
        ...changes,
      }),
    );

  beforeEach(() => {
    admit.mockReset();
    sibling.postMessage.mockReset();
    admitParts("our-group-of-frames", "emb_1", admit);
  });

  it("are let in over a port of their own, sent to our own origin alone", () => {
    say({});
    expect(admit.mock.calls.map(([part]) => part)).toEqual(["pan"]);
    const [message, target, ports] = sibling.postMessage.mock.calls[0] ?? [];
    expect([message, target, ports.length]).toEqual([
      { cardveil: 1, type: "admit", group: "our-group-of-frames" },
      location.origin,
      1,
    ]);
  });

  it.each([
    ["another origin", { origin: "https://shop.example" }, {}],
    ["an opaque origin", { origin: "null" }, {}],
    ["the page itself", { source: null }, {}],
    ["a port", { source: new MessageChannel().port1 }, {}],
    ["a frame of another page", { source: { parent: {}, postMessage: () => {} } }, {}],
    ["another version", {}, { cardveil: 2 }],
    ["another group", {}, { group: "another-group-of-frames" }],
    ["another embed", {}, { embed: "emb_2" }],
    ["a part that is none", {}, { part: "pin" }],
    ["nothing", { data: null }, {}],
  ])("are not let in from %s", (_what, changes, data) => {
    say(changes, data);
    expect(admit).not.toHaveBeenCalled();
    expect(sibling.postMessage).not.toHaveBeenCalled();
  });

  it("take the first answer of a sibling, and of nobody else", async () => {
    const joined = vi.fn();
    const port = new MessageChannel().port1;
    void join("our-group-of-frames", "emb_1", "pan", "seen").then(joined);
    const admitted = { type: "admit" };
    say({ origin: "https://evil.example", ports: [port] }, admitted);
    say({ source: { parent: {}, postMessage: () => {} }, ports: [port] }, admitted);
    say({ ports: [] }, admitted);
    await settled();
    expect(joined).not.toHaveBeenCalled();
    say({ ports: [port] }, admitted);
    await settled();
    expect(joined.mock.calls[0]?.[0] === port).toBe(true);
  });
});
