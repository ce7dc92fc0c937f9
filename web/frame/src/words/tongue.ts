import type { Label } from "@cardveil/protocol";
import type { World } from "../client.ts";
import type { Config } from "../config.ts";
import { languageOf, type Speech, type Spoken, wordsFor } from "./index.ts";

/**
 * What a frame says: in the words that the server wrote into it, and in another language's once the
 * page wants that.
 *
 * **Invariant**: without the new words, those at hand stay; a language is asked for once.
 */
export class Tongue {
  #words: Spoken;
  #asked: string;

  constructor(
    config: Pick<Config, "words" | "asked">,
    private readonly world: Pick<World, "fetch">,
  ) {
    this.#words = config.words;
    this.#asked = config.asked;
  }

  /** How to speak now. `learnt` is called when the words of another language have come. */
  speak(locale: string, labels: Partial<Record<Label, string>>, learnt: () => void): Speech {
    void this.#learn(languageOf(locale), learnt);
    return wordsFor(this.#words, locale, labels);
  }

  async #learn(language: string, learnt: () => void): Promise<void> {
    if (language === this.#asked) return;
    this.#asked = language;
    try {
      const answer = await this.world.fetch(`/client/v1/words/${language}`, {
        credentials: "omit",
        redirect: "error",
      });
      // A node of the version before, during an upgrade, has no such address.
      if (answer.status === 404) return;
      const words: Spoken = await answer.json();
      if (!answer.ok) throw new TypeError("no words");
      if (language !== this.#asked) return;
      this.#words = words;
      learnt();
    } catch {
      // Lost on the way: the next change asks again.
      if (language === this.#asked) this.#asked = "";
    }
  }
}
