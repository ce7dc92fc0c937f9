/** Visits that tests share which only look: one for each look, in which each test loads a page. */
import type { Browser, Look, Visit } from "./browsers/index.ts";
import { Wire } from "./wire.ts";

export class Visits {
  readonly #begun = new Map<string, Promise<{ visit: Visit; wire: Wire }>>();

  constructor(private readonly browser: Browser) {}

  async like(look: Look): Promise<Visit> {
    const key = JSON.stringify(look);
    const begun = this.#begun.get(key) ?? this.#begin(look);
    this.#begun.set(key, begun);
    return (await begun).visit;
  }

  async leave(): Promise<void> {
    for (const begun of this.#begun.values()) {
      const { visit, wire } = await begun;
      await visit.leave();
      wire.close();
    }
  }

  async #begin(look: Look): Promise<{ visit: Visit; wire: Wire }> {
    const wire = await Wire.open();
    return { visit: await this.browser.visit(look, `http://127.0.0.1:${wire.port}`), wire };
  }
}
