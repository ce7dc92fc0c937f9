/**
 * Whether the cardholder can see a frame, by IntersectionObserver v2: Chromium has it, Firefox and
 * WebKit have not.
 *
 * What Chromium takes for hidden: a frame over which anything paints, or with an opacity, a filter,
 * a blend or a transform on it or around it, but for moving and enlarging. It does not see masks,
 * nor what lies over its window.
 */
import { HINDRANCES, type Hindrance } from "@cardveil/protocol";

/**
 * `outside` is scrolled out of view, which is nobody's fault. `unknown` where the browser cannot
 * tell.
 */
export type Sight = "seen" | "unknown" | "outside" | Hindrance;

const SIGHTS: readonly Sight[] = ["seen", "unknown", "outside", ...HINDRANCES];
export const isHindrance = (sight: Sight): sight is Hindrance =>
  HINDRANCES.some((hindrance) => hindrance === sight);
export const isSight = (value: unknown): value is Sight => SIGHTS.some((sight) => sight === value);

/** Room that a frame needs, in CSS pixels, to show what it is for. */
export interface Room {
  width: number;
  height: number;
}
export const ROOM = {
  card: { width: 120, height: 60 },
  part: { width: 12, height: 8 },
} as const satisfies Record<string, Room>;

/** How much of a frame has to be in view. */
const SHARE = 0.5;
/**
 * A click counts when what is clicked has been in sight for as long as it takes to aim and press.
 */
const STEADY_MS = 300;
/** The least that the browser allows between two looks. The first look is at once. */
const DELAY_MS = 100;

/** What is known of a frame's sight, and who wants to know when that changes. */
export class Sighting {
  readonly #watchers = new Set<() => void>();
  #since: number;

  constructor(
    private readonly clock: () => number,
    private sight: Sight,
  ) {
    this.#since = clock();
  }

  get now(): Sight {
    return this.sight;
  }

  /** Whether something hides it, as far as anybody can tell. */
  get hidden(): boolean {
    return this.sight !== "seen" && this.sight !== "unknown";
  }

  /**
   * Whether a click now was meant for what can be seen. Where the browser cannot tell, nobody can.
   */
  get steady(): boolean {
    return (
      this.sight === "unknown" || (this.sight === "seen" && this.clock() - this.#since >= STEADY_MS)
    );
  }

  become(sight: Sight): void {
    if (sight === this.sight) return;
    this.sight = sight;
    this.#since = this.clock();
    for (const run of [...this.#watchers]) run();
  }

  /** Calls back at each change, until the answer is called. */
  watch(run: () => void): () => void {
    this.#watchers.add(run);
    return () => void this.#watchers.delete(run);
  }
}

/** Looks at an element of this frame from now on; where the browser can. */
export function lookAt(element: Element, room: Room): Sighting {
  const clock = () => performance.now();
  if (!("isVisible" in IntersectionObserverEntry.prototype)) return new Sighting(clock, "unknown");
  // A frame that is not rendered at all is not looked at either.
  const sighting = new Sighting(clock, "not_rendered");
  const observer = new IntersectionObserver(
    (entries) => {
      const last = entries.at(-1) as unknown as Look;
      sighting.become(sightOf(last, { width: innerWidth, height: innerHeight }, room));
    },
    { trackVisibility: true, delay: DELAY_MS, threshold: [0, SHARE] } as IntersectionObserverInit,
  );
  const look = () => {
    observer.disconnect();
    observer.observe(element);
  };
  look();
  // A frame that shrinks is as visible as before, and one that was prepared has no size until it is
  // a card's: what is observed anew is looked at without the delay.
  addEventListener("resize", look);
  return sighting;
}

type Look = Pick<IntersectionObserverEntry, "isIntersecting" | "intersectionRatio"> & {
  isVisible: boolean;
};

export function sightOf(
  { isIntersecting, intersectionRatio, isVisible }: Look,
  frame: Room,
  room: Room,
): Sight {
  if (frame.width < room.width || frame.height < room.height) return "too_small";
  if (!isIntersecting || intersectionRatio < SHARE) return "outside";
  return isVisible ? "seen" : "covered";
}
