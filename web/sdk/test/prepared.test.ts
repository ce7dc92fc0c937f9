import { describe, expect, it, vi } from "vitest";
import type { FramedCard } from "../src/card.ts";
import { cardveilFrom } from "../src/cardveil.ts";
import { cards, delivered, Frame, ORIGIN, TOKEN } from "./page.ts";

describe("a prepared frame", () => {
  const veil = () => cardveilFrom(`${ORIGIN}/sdk/v1/cardveil.js`)({ embed: "emb_1" });
  const only = () => {
    const [element, ...more] = document.querySelectorAll("iframe");
    if (element === undefined || more.length > 0) throw new Error(`${more.length + 1} frames`);
    return new Frame(element);
  };

  it("is there before the token, shows nothing, and becomes the card that is mounted in its place", async () => {
    const ours = veil();
    ours.prepare("#card");
    ours.prepare("#card");
    const frame = only();
    frame.hello();
    await delivered();
    expect(frame.element.style.visibility).toBe("hidden");
    expect(frame.types).toEqual([]);
    const token = vi.fn(async () => TOKEN);
    const card = ours.card({ token, locale: "de", title: "Meine Karte" });
    cards.push(card as FramedCard);
    card.mount("#card");
    frame.ready();
    frame.say({ type: "needToken" });
    await delivered();
    expect(document.querySelectorAll("iframe")).toHaveLength(1);
    expect(frame.element.style.visibility).toBe("");
    expect(frame.element.dataset["testid"]).toBe("cardveil-frame");
    expect(frame.element.title).toBe("Meine Karte");
    expect(frame.types.slice(-3)).toEqual(["configure", "reveal", "token"]);
    expect(token).toHaveBeenCalledTimes(1);
    expect(frame.window.postMessage).toHaveBeenCalledTimes(1);
  });

  it("that has not come yet is waited for anew, and told when it is there", async () => {
    const ours = veil();
    ours.prepare();
    const frame = only();
    const card = ours.card({ token: TOKEN });
    cards.push(card as FramedCard);
    card.mount("#card", "pan");
    expect(
      [...document.querySelectorAll("iframe")]
        .map(({ src }) => new URL(src).searchParams.get("as"))
        .sort(),
    ).toEqual(["holder", "part"]);
    frame.hello();
    await delivered();
    expect(frame.types).toEqual(["configure"]);
  });

  it("is of its own place and kind alone, and serves one card", () => {
    const ours = veil();
    ours.prepare("#card");
    document.body.append(Object.assign(document.createElement("div"), { id: "other" }));
    const make = () => {
      const card = ours.card({ token: TOKEN });
      cards.push(card as FramedCard);
      return card;
    };
    make().mount("#other");
    make().mount("#card", "pan");
    expect(document.querySelectorAll("[data-testid=cardveil-prepared]")).toHaveLength(1);
    make().mount("#card");
    expect(document.querySelectorAll("[data-testid=cardveil-prepared]")).toHaveLength(0);
    const before = document.querySelectorAll("iframe").length;
    make().mount("#card");
    expect(document.querySelectorAll("iframe")).toHaveLength(before + 1);
    cards[0]?.destroy();
    cards[2]?.destroy();
  });

  it("is of the page, so that another veil of the same embed finds it, and one of another embed does not", () => {
    document.body.append(Object.assign(document.createElement("div"), { id: "there" }));
    veil().prepare("#there");
    const other = cardveilFrom(`${ORIGIN}/sdk/v1/cardveil.js`)({ embed: "emb_2" }).card({
      token: TOKEN,
    });
    cards.push(other as FramedCard);
    other.mount("#there");
    expect(document.querySelectorAll("[data-testid=cardveil-prepared]")).toHaveLength(1);
    const card = veil().card({ token: TOKEN });
    cards.push(card as FramedCard);
    card.mount("#there");
    expect(document.querySelectorAll("[data-testid=cardveil-prepared]")).toHaveLength(0);
    expect(document.querySelectorAll("#there iframe")).toHaveLength(2);
  });

  it("that was lost, or taken out of the page, is left for a new one", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    vi.stubGlobal(
      "fetch",
      vi.fn(async () => new Response("{}")),
    );
    const ours = veil();
    ours.prepare("#card");
    const { element } = only();
    element.dispatchEvent(new Event("load"));
    await vi.advanceTimersByTimeAsync(2_000);
    const card = ours.card({ token: TOKEN });
    cards.push(card as FramedCard);
    card.mount("#card");
    expect(only().element).not.toBe(element);
    vi.unstubAllGlobals();
  });

  it("is taken away when it is no longer wanted, after ten minutes, or when more than four wait", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const ours = veil();
    const end = ours.prepare("#card");
    end();
    end();
    expect(document.querySelector("iframe")).toBeNull();
    document.body.innerHTML = [1, 2, 3, 4, 5].map((n) => `<div id="n${n}"></div>`).join("");
    for (const n of [1, 2, 3, 4, 5]) ours.prepare(`#n${n}`);
    expect(
      [...document.querySelectorAll("iframe")].map(({ parentElement }) => parentElement?.id),
    ).toEqual(["n2", "n3", "n4", "n5"]);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(document.querySelector("iframe")).toBeNull();
    expect(() => ours.prepare("#nowhere")).toThrow(expect.objectContaining({ code: "bad_option" }));
  });
});
