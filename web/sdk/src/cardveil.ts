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
        const configuration = parseOptions(options);
        const language = configuration.locale.split("-", 1)[0]?.toLowerCase();
        return new FramedCard({ ...place, frameUrl: `${place.frameUrl}?lang=${language}` }, configuration, options);
      },
      doctor: async () => (await place.doctor()).examine(place),
    };
  };
}
