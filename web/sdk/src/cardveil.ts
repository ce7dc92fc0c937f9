import type { CardveilFactory } from "./api.ts";
import { FramedCard } from "./card.ts";
import { native } from "./document.ts";
import { Frame, type Looks } from "./frame.ts";
import { cardOptions, elementOf, pageLocale, parseOptions, parsePlace } from "./options.ts";

const IDLE_MS = 600_000;
const IDLE_MAX = 4;

interface Idle {
  frame: Frame;
  url: string;
  as: Looks["as"];
  into: Element;
  end(): void;
}

/**
 * Those that wait for a card, the oldest first: of the page, so that React and the element find
 * them too.
 */
const idle = new Set<Idle>();

/** The SDK, for a script that was loaded from `scriptUrl`. */
export function cardveilFrom(scriptUrl: string | undefined): CardveilFactory {
  return (options) => {
    const place = parsePlace(options, scriptUrl);
    const url = place.frameUrl;
    const waiting = (as: Looks["as"], into: Element) =>
      [...idle].find((one) => one.url === url && one.as === as && one.into === into);
    const nothing = () => {};

    return {
      card(given) {
        const options = cardOptions(given);
        return new FramedCard(place, parseOptions(options), options.token, (as, into) => {
          const found = waiting(as, into);
          if (found === undefined) return undefined;
          if (found.frame.lost || !into.contains(found.frame.element)) found.end();
          return idle.delete(found) ? found.frame : undefined;
        });
      },
      prepare(target) {
        const as = target === undefined ? "holder" : "card";
        const into = target === undefined ? native("body") : elementOf(target);
        const there = waiting(as, into);
        if (there !== undefined) return there.end;
        const looks: Looks = {
          as,
          locale: pageLocale(),
          theme: "auto",
          title: undefined,
          testid: "cardveil-prepared",
          height: "",
          patienceMs: IDLE_MS,
        };
        const frame = new Frame(place, looks, {
          connected: nothing,
          ready: nothing,
          heard: nothing,
          lost: nothing,
        });
        const one: Idle = {
          frame,
          url,
          as,
          into,
          end: () => (idle.delete(one) ? frame.remove() : undefined),
        };
        idle.add(one);
        if (idle.size > IDLE_MAX) [...idle][0]?.end();
        setTimeout(one.end, IDLE_MS);
        frame.mount(into);
        return one.end;
      },
      doctor: async () => (await place.doctor()).examine(place),
    };
  };
}
