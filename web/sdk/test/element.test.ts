import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type {
  CardChanges,
  CardEvents,
  CardOptions,
  CardveilCardElement,
  CardveilOptions,
  CardveilPart,
  PartOptions,
} from "../src/api.ts";
import { defineElement } from "../src/element.ts";

interface Made {
  place: CardveilOptions;
  options: CardOptions;
  handlers: Map<string, (detail: unknown) => void>;
  mounted: Element | undefined;
  parts: CardveilPart[];
  partOptions: unknown[];
  updates: CardChanges[];
  destroyed: boolean;
}
const made: Made[] = [];

defineElement((place) => ({
  card: (options) => {
    if (options.fields?.includes("pin" as "pan"))
      throw Object.assign(new Error("no"), { code: "bad_option" });
    const card: Made = {
      place,
      options,
      handlers: new Map(),
      mounted: undefined,
      parts: [],
      partOptions: [],
      updates: [],
      destroyed: false,
    };
    made.push(card);
    return {
      mount: (target, part?: CardveilPart, options?: PartOptions) => {
        card.mounted = target as Element;
        if (part !== undefined) card.parts.push(part);
        if (part !== undefined) card.partOptions.push(options);
        return () => {};
      },
      on: <E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void) => {
        card.handlers.set(event, handler as (detail: unknown) => void);
        return () => {};
      },
      update: (changes) => {
        if (changes.locale === "english!")
          throw Object.assign(new Error("no"), { code: "bad_option" });
        card.updates.push(changes);
      },
      reveal: () => {},
      hide: () => {},
      destroy: () => void (card.destroyed = true),
    };
  },
  prepare: () => () => {},
  doctor: () => Promise.reject(new Error("not asked")),
}));

beforeEach(() => {
  vi.useFakeTimers();
  made.length = 0;
});
afterEach(() => {
  document.body.replaceChildren();
  vi.useRealTimers();
});

const html = (markup: string) => {
  document.body.innerHTML = markup;
  return document.querySelector("cardveil-card") as CardveilCardElement;
};

it("is one card, with the options of its attributes", () => {
  const element = html(
    '<cardveil-card embed="emb_1" token="cvt_test_1" client-url="https://c.example" fields="pan, expiry" locale="de" hide-after="30" theme="dark"></cardveil-card>',
  );
  vi.runAllTimers();
  expect(made).toHaveLength(1);
  expect(made[0]).toMatchObject({
    place: { embed: "emb_1", clientUrl: "https://c.example" },
    options: {
      token: "cvt_test_1",
      fields: ["pan", "expiry"],
      locale: "de",
      hideAfter: 30,
      appearance: { theme: "dark" },
    },
    mounted: element,
  });
});

it("leaves out what has no attribute", () => {
  html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>');
  vi.runAllTimers();
  expect(made[0]).toMatchObject({ place: { embed: "emb_1" } });
  expect(made[0]?.options).toEqual({ token: "cvt_test_1", appearance: {} });
});

it("takes every option that a card takes", () => {
  const element = html(
    '<cardveil-card embed="emb_1" token="cvt_test_1" masked copy="pan expiry" frame-title="My card" theme="light" accent="#112233" radius="4" font="inter" design="tide"></cardveil-card>',
  );
  element.appearance = { theme: "dark", text: { fontSize: 20 } };
  element.labels = { hide: "Away" };
  vi.runAllTimers();
  expect(made).toHaveLength(1);
  expect(made[0]?.options).toEqual({
    token: "cvt_test_1",
    masked: true,
    copy: ["pan", "expiry"],
    title: "My card",
    labels: { hide: "Away" },
    appearance: {
      theme: "dark",
      accent: "#112233",
      radius: 4,
      font: "inter",
      design: "tide",
      text: { fontSize: 20 },
    },
  });
});

it.each<[string, boolean | string[]]>([
  ["", true],
  ["true", true],
  ["false", false],
  ["cvv, name", ["cvv", "name"]],
])('takes masked="%s" as a boolean attribute, or a list', (value, masked) => {
  html(
    `<cardveil-card embed="emb_1" token="cvt_test_1" masked="${value}" copy="${value}"></cardveil-card>`,
  );
  vi.runAllTimers();
  expect(made[0]?.options).toMatchObject({ masked, copy: masked });
});

it("hears what a page said before the element was there", () => {
  const element = document.createElement("cardveil-card");
  // As the browser upgrades an element that was parsed before its definition.
  Object.defineProperty(element, "token", {
    value: "cvt_test_9",
    configurable: true,
    writable: true,
    enumerable: true,
  });
  element.setAttribute("embed", "emb_1");
  document.body.append(element);
  vi.runAllTimers();
  expect(made[0]?.options.token).toBe("cvt_test_9");
  element.token = "cvt_test_8";
  vi.runAllTimers();
  expect(made[1]?.options.token).toBe("cvt_test_8");
});

it("changes the card that is there, by attributes and by properties, without another token", () => {
  const token = vi.fn(async () => "cvt_test_1");
  const element = html('<cardveil-card embed="emb_1" hide-after="30"></cardveil-card>');
  element.token = token;
  vi.runAllTimers();
  for (const [name, value] of [
    ["locale", "de"],
    ["hide-after", "40"],
    ["copy", ""],
    ["frame-title", "Karte"],
    ["theme", "dark"],
    ["accent", "#112233"],
    ["radius", "2"],
    ["font", "inter"],
    ["design", "tide"],
  ] as const) {
    element.setAttribute(name, value);
  }
  element.appearance = { radius: 9 };
  element.labels = { hide: "Weg" };
  element.removeAttribute("hide-after");
  vi.runAllTimers();
  expect(made).toHaveLength(1);
  expect(made[0]?.destroyed).toBe(false);
  expect(made[0]?.updates).toHaveLength(12);
  expect(made[0]?.updates.at(-1)).toEqual({
    locale: "de",
    hideAfter: undefined,
    copy: true,
    title: "Karte",
    labels: { hide: "Weg" },
    appearance: { theme: "dark", accent: "#112233", radius: 9, font: "inter", design: "tide" },
  });
  expect(token).not.toHaveBeenCalled();
});

it.each([
  ["fields", "pan"],
  ["masked", "pan"],
  ["embed", "emb_2"],
  ["client-url", "https://d.example"],
])("makes another card when %s changes", (name, value) => {
  const element = html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>');
  vi.runAllTimers();
  element.setAttribute(name, value);
  vi.runAllTimers();
  expect(made.map(({ destroyed, updates }) => [destroyed, updates.length])).toEqual([
    [true, 0],
    [false, 0],
  ]);
});

it("tells of a wrong change and keeps its card; one that could not start does once it can", () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const element = html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>');
  const heard = vi.fn();
  element.addEventListener("error", ({ detail }) => heard(detail.code));
  vi.runAllTimers();
  element.setAttribute("locale", "english!");
  expect(heard).toHaveBeenCalledWith("bad_option");
  expect(made[0]?.destroyed).toBe(false);
});

it("told of a wrong attribute again with each other one, and tells of it once until all is right", () => {
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  const element = html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>');
  const heard = vi.fn();
  element.addEventListener("error", ({ detail }) => heard(detail.code));
  vi.runAllTimers();
  log.mockClear();
  element.setAttribute("locale", "english!");
  element.setAttribute("theme", "dark");
  element.setAttribute("radius", "4");
  expect([heard.mock.calls.length, log.mock.calls.length]).toEqual([1, 1]);
  element.setAttribute("locale", "en");
  element.setAttribute("locale", "english!");
  expect([heard.mock.calls.length, log.mock.calls.length]).toEqual([2, 2]);
});

it("was silent without embed or token, and says what it waits for", () => {
  const warn = vi.spyOn(console, "warn").mockReturnValue();
  const element = html("<cardveil-card></cardveil-card>");
  vi.advanceTimersByTime(4_000);
  expect(warn).not.toHaveBeenCalled();
  vi.runAllTimers();
  element.setAttribute("embed", "emb_1");
  vi.runAllTimers();
  expect(warn.mock.calls.flat()).toEqual([
    expect.stringContaining("waits for its embed"),
    expect.stringContaining("waits for its token"),
  ]);
  warn.mockRestore();
});

it("gives each part what is said of it", () => {
  document.body.innerHTML =
    '<cardveil-card embed="emb_1" token="t"><cardveil-part name="pan" frame-title="Number"></cardveil-part><cardveil-part name="copy-pan" transparent></cardveil-part></cardveil-card>';
  const [pan] = document.querySelectorAll("cardveil-part");
  if (pan !== undefined) pan.appearance = { text: { fontSize: 20 } };
  vi.runAllTimers();
  expect(made[0]?.parts).toEqual(["pan", "copy-pan"]);
  expect(made[0]?.partOptions).toEqual([
    { appearance: { text: { fontSize: 20 } }, title: "Number", transparent: false },
    { transparent: true },
  ]);
});

it("waits for both the embed and a token, which may be a function", () => {
  const element = html("<cardveil-card></cardveil-card>");
  vi.runAllTimers();
  expect(made).toHaveLength(0);
  element.setAttribute("embed", "emb_1");
  vi.runAllTimers();
  expect(made).toHaveLength(0);
  element.token = async () => "cvt_test_1";
  vi.runAllTimers();
  expect(made).toHaveLength(1);
});

it("asks the newest of its token functions, and makes no other card for it", async () => {
  const element = html('<cardveil-card embed="emb_1"></cardveil-card>');
  element.token = async () => "cvt_test_1";
  vi.runAllTimers();
  element.token = async () => "cvt_test_2";
  vi.runAllTimers();
  expect(made).toHaveLength(1);
  const { token } = made[0]?.options as { token: () => Promise<string> };
  expect(await token()).toBe("cvt_test_2");
  element.token = null;
  element.token = async () => "cvt_test_3";
  vi.runAllTimers();
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, false]);
});

it("makes no card when it is taken out in the same task", () => {
  html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>').remove();
  vi.runAllTimers();
  expect(made).toHaveLength(0);
});

it("makes one card when it is put in, out and in again", () => {
  const element = html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>');
  element.remove();
  document.body.append(element);
  vi.runAllTimers();
  expect(made).toHaveLength(1);
});

it("destroys its card when it is taken out, and makes another for another token", () => {
  const element = html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>');
  vi.runAllTimers();
  element.setAttribute("token", "cvt_test_1");
  vi.runAllTimers();
  expect(made).toHaveLength(1);
  element.setAttribute("token", "cvt_test_2");
  vi.runAllTimers();
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, false]);
  element.remove();
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, true]);
});

it("dispatches the events of its card", () => {
  const element = html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>');
  vi.runAllTimers();
  const heard = vi.fn();
  element.addEventListener("revealed", (event) => heard((event as CustomEvent).detail));
  made[0]?.handlers.get("revealed")?.({ fields: ["pan"] });
  expect(heard).toHaveBeenCalledWith({ fields: ["pan"] });
  expect([...(made[0]?.handlers.keys() ?? [])]).toEqual([
    "ready",
    "revealed",
    "hidden",
    "copied",
    "expired",
    "warning",
    "error",
  ]);
});

it("dispatches an error for an option that is wrong", () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const element = html(
    '<cardveil-card embed="emb_1" token="cvt_test_1" fields="pin"></cardveil-card>',
  );
  const heard = vi.fn();
  element.addEventListener("error", (event) =>
    heard((event as unknown as CustomEvent).detail.code),
  );
  vi.runAllTimers();
  expect(heard).toHaveBeenCalledWith("bad_option");
});

it("is defined once, by whoever comes first", () => {
  const first = customElements.get("cardveil-card");
  defineElement(() => expect.unreachable());
  expect(customElements.get("cardveil-card")).toBe(first);
});
