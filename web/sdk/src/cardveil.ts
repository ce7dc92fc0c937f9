import type { CardveilFactory } from "./api.ts";
import { FramedCard } from "./card.ts";
import { native } from "./document.ts";
import { Frame, type Looks } from "./frame.ts";
import { elementOf, pageLocale, parseOptions, parsePlace } from "./options.ts";

const IDLE_MS = 600_000;
const IDLE_MAX = 4;

/**
 * Those that wait for a card, the oldest first: of the page, so that React and the element find
 * them too.
 */
const idle = new Set<Frame>();
const end = (frame: Frame | undefined) => {
  if (frame !== undefined && idle.delete(frame)) frame.remove();
};

/** The SDK, for a script that was loaded from `scriptUrl`. */
export function cardveilFrom(scriptUrl: string | undefined): CardveilFactory {
  return (options) => {
    const place = parsePlace(options, scriptUrl);
    const waiting = (as: Looks["as"], into: Element) =>
      [...idle].find(
        (frame) =>
          frame.place.frameUrl === place.frameUrl &&
          frame.looks.as === as &&
          frame.element.parentNode === into,
      );

    return {
      card: (given) =>
        new FramedCard(place, parseOptions(given), (as, into) => {
          const frame = waiting(as, into);
          if (frame?.lost) end(frame);
          return frame !== undefined && idle.delete(frame) ? frame : undefined;
        }),
      prepare(target) {
        const as = target === undefined ? "holder" : "card";
        const into = target === undefined ? native("body") : elementOf(target);
        let frame = waiting(as, into);
        if (frame === undefined) {
          frame = new Frame(place, {
            as,
            locale: pageLocale(),
            theme: "auto",
            title: undefined,
            testid: "cardveil-prepared",
            height: "",
            patienceMs: IDLE_MS,
          });
          idle.add(frame);
          if (idle.size > IDLE_MAX) end([...idle][0]);
          setTimeout(end, IDLE_MS, frame);
          frame.mount(into);
        }
        return () => end(frame);
      },
      doctor: async () => (await place.doctor()).examine(place),
    };
  };
}
