/**
 * What counts as seen. Counts as a failure: a frame that nobody can see and that is taken for seen.
 */
import { afterEach, describe, expect, it, vi } from "vitest";
import { lookAt, ROOM, type Sight, Sighting, sightOf } from "../src/sight.ts";

const inView = { isIntersecting: true, intersectionRatio: 1, isVisible: true };
const large = { width: 400, height: 250 };

describe("a frame", () => {
  it.each<[string, object, object, Sight]>([
    ["in view, with nothing over it", {}, {}, "seen"],
    ["half in view", { intersectionRatio: 0.5 }, {}, "seen"],
    ["covered, transparent or filtered", { isVisible: false }, {}, "covered"],
    ["of one pixel", {}, { width: 1 }, "too_small"],
    ["of one line", {}, { height: 1 }, "too_small"],
    ["as small as may be", {}, ROOM.card, "seen"],
    ["a pixel smaller", {}, { ...ROOM.card, width: ROOM.card.width - 1 }, "too_small"],
    [
      "out of view",
      { isIntersecting: false, intersectionRatio: 0, isVisible: false },
      {},
      "outside",
    ],
    ["of which a strip is in view", { intersectionRatio: 0.49 }, {}, "outside"],
    [
      "of which a strip is in view, by an element around it",
      { intersectionRatio: 0.01, isVisible: true },
      {},
      "outside",
    ],
  ])("%s", (_, look, frame, sight) => {
    expect(sightOf({ ...inView, ...look }, { ...large, ...frame }, ROOM.card)).toBe(sight);
  });
});

describe("a browser", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("that cannot tell says so", () => {
    vi.stubGlobal("IntersectionObserverEntry", class {});
    expect(lookAt(document.body, ROOM.card).now).toBe("unknown");
  });

  it("that can is asked for visibility, from the start, and when the frame's size changes", () => {
    const asked: unknown[] = [];
    let look: (entries: object[]) => void = () => {};
    vi.stubGlobal(
      "IntersectionObserverEntry",
      class {
        get isVisible() {
          return true;
        }
      },
    );
    vi.stubGlobal(
      "IntersectionObserver",
      class {
        constructor(run: typeof look, options: unknown) {
          look = run;
          asked.push(options);
        }
        observe(element: Element) {
          asked.push(element);
        }
        disconnect() {
          asked.push("anew");
        }
      },
    );
    const sighting = lookAt(document.body, ROOM.card);
    expect(asked.splice(0)).toEqual([
      { trackVisibility: true, delay: 100, threshold: [0, 0.5] },
      "anew",
      document.body,
    ]);
    expect(sighting.now).toBe("not_rendered");
    vi.stubGlobal("innerWidth", 400);
    vi.stubGlobal("innerHeight", 250);
    look([{ ...inView, isVisible: false }, inView]);
    expect(sighting.now).toBe("seen");
    vi.stubGlobal("innerWidth", 1);
    window.dispatchEvent(new Event("resize"));
    expect(asked).toEqual(["anew", document.body]);
    look([inView]);
    expect(sighting.now).toBe("too_small");
  });
});

describe("a click", () => {
  it("counts after a while in sight, and where nobody can tell", () => {
    let now = 0;
    const sighting = new Sighting(() => now, "covered");
    expect(sighting.steady).toBe(false);
    sighting.become("seen");
    expect(sighting.steady).toBe(false);
    now = 299;
    expect(sighting.steady).toBe(false);
    now = 300;
    expect(sighting.steady).toBe(true);
    sighting.become("covered");
    expect(sighting.steady).toBe(false);
    expect(new Sighting(() => now, "unknown").steady).toBe(true);
  });
});
