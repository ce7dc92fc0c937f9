import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { CardEvents, CardOptions, CardveilCardElement, CardveilOptions, CardveilPart } from "../src/api.ts";
import { defineElement } from "../src/element.ts";

interface Made {
  place: CardveilOptions;
  options: CardOptions;
  handlers: Map<string, (detail: unknown) => void>;
  mounted: Element | undefined;
  parts: CardveilPart[];
  destroyed: boolean;
}
const made: Made[] = [];

defineElement((place) => ({
  card: (options) => {
    if (options.fields?.includes("pin" as "pan")) throw Object.assign(new Error("no"), { code: "bad_option" });
    const card: Made = { place, options, handlers: new Map(), mounted: undefined, parts: [], destroyed: false };
    made.push(card);
    return {
      mount: (target, part?: CardveilPart) => {
        card.mounted = target as Element;
        if (part !== undefined) card.parts.push(part);
        return () => {};
      },
      on: <E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void) => {
        card.handlers.set(event, handler as (detail: unknown) => void);
        return () => {};
      },
      reveal: () => {},
      hide: () => {},
      destroy: () => void (card.destroyed = true),
    };
  },
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
  const element = html('<cardveil-card embed="emb_1" token="cvt_test_1" client-url="https://c.example" fields="pan, expiry" locale="de" hide-after="30" theme="dark"></cardveil-card>');
  vi.runAllTimers();
  expect(made).toHaveLength(1);
  expect(made[0]).toMatchObject({
    place: { embed: "emb_1", clientUrl: "https://c.example" },
    options: { token: "cvt_test_1", fields: ["pan", "expiry"], locale: "de", hideAfter: 30, appearance: { theme: "dark" } },
    mounted: element,
  });
});

it("leaves out what has no attribute", () => {
  html('<cardveil-card embed="emb_1" token="cvt_test_1"></cardveil-card>');
  vi.runAllTimers();
  expect(made[0]).toMatchObject({ place: { embed: "emb_1" } });
  expect(made[0]?.options).toEqual({ token: "cvt_test_1" });
});

it("waits for both the embed and a token, which may be a function", () => {
  const element = html("<cardveil-card></cardveil-card>");
  vi.runAllTimers();
  expect(made).toHaveLength(0);
  element.setAttribute("embed", "emb_1");
  vi.runAllTimers();
  expect(made).toHaveLength(0);
  const token = async () => "cvt_test_1";
  element.token = token;
  vi.runAllTimers();
  expect(made[0]?.options.token).toBe(token);
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
  expect([...(made[0]?.handlers.keys() ?? [])]).toEqual(["ready", "revealed", "hidden", "copied", "expired", "warning", "error"]);
});

it("dispatches an error for an option that is wrong", () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const element = html('<cardveil-card embed="emb_1" token="cvt_test_1" fields="pin"></cardveil-card>');
  const heard = vi.fn();
  element.addEventListener("error", (event) => heard((event as unknown as CustomEvent).detail.code));
  vi.runAllTimers();
  expect(heard).toHaveBeenCalledWith("bad_option");
});

it("is defined once, by whoever comes first", () => {
  const first = customElements.get("cardveil-card");
  defineElement(() => expect.unreachable());
  expect(customElements.get("cardveil-card")).toBe(first);
});
