import type { CardveilFactory } from "./api.ts";
import { FramedCard } from "./card.ts";
import { cardOptions, parseOptions, parsePlace } from "./options.ts";

/** The SDK, for a script that was loaded from `scriptUrl`. */
export function cardveilFrom(scriptUrl: string | undefined): CardveilFactory {
  return (options) => {
    const place = parsePlace(options, scriptUrl);
    return {
      card(given) {
        const options = cardOptions(given);
        return new FramedCard(place, parseOptions(options), options.token);
      },
      doctor: async () => (await place.doctor()).examine(place),
    };
  };
}
