/** Visits that tests share, instead of a new window for each. */
import type { Browser, Look, Visit } from "./browsers/index.ts";
import { Wire } from "./wire.ts";

export interface Place {
  visit: Visit;
  wire: Wire;
}

export class Visits {
  readonly #begun: Place[] = [];
  readonly #alike = new Map<string, Promise<Place>>();
  readonly #free = new Map<string, Place[]>();

  constructor(private readonly browser: Browser) {}

  /** The one of each look, for tests that only look: each loads a page in it. */
  async like(look: Look): Promise<Visit> {
    const key = JSON.stringify(look);
    const begun = this.#alike.get(key) ?? this.#begin(look);
    this.#alike.set(key, begun);
    return (await begun).visit;
  }

  /** One of the look that nobody is at, until it is given back. */
  async take(look: Look): Promise<Place> {
    return this.#freeOf(look).pop() ?? (await this.#begin(look));
  }

  giveBack(look: Look, place: Place): void {
    this.#freeOf(look).push(place);
  }

  async leave(): Promise<void> {
    for (const { visit, wire } of this.#begun) {
      await visit.leave();
      wire.close();
    }
  }

  #freeOf(look: Look): Place[] {
    const key = JSON.stringify(look);
    const free = this.#free.get(key) ?? [];
    this.#free.set(key, free);
    return free;
  }

  async #begin(look: Look): Promise<Place> {
    const wire = await Wire.open();
    const visit = await this.browser.visit(look, `http://127.0.0.1:${wire.port}`);
    const place = { visit, wire };
    this.#begun.push(place);
    return place;
  }
}
