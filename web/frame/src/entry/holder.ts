/** The entry of the frame that holds a card and shows nothing: the frames of its parts do. */
import { browser } from "../browser.ts";
import { Card } from "../card.ts";
import { Cast } from "../cast.ts";
import { readConfig } from "../config.ts";
import { hold } from "../page.ts";
import { admitParts } from "../siblings.ts";

async function start(): Promise<void> {
  const config = await readConfig(document);
  await hold(config, (post, { group }) => {
    const cast = new Cast();
    if (group !== undefined)
      admitParts(group, config.embed, (part, port, sight) => cast.admit(part, port, sight));
    return new Card(config, { ...browser, painted: cast.painted, sight: cast.sight }, cast, post);
  });
}

if (window.parent !== window) void start();
