/** The entry of the frame that shows a whole card. */
import { FIELDS } from "@cardveil/protocol";
import { browser } from "../browser.ts";
import { Card } from "../card.ts";
import { readConfig } from "../config.ts";
import { attire } from "../design.ts";
import { Failure } from "../failure.ts";
import { hold, reportSize } from "../page.ts";
import { lookAt, ROOM } from "../sight.ts";
import { View } from "../view.ts";

async function start(root: HTMLElement): Promise<void> {
  const config = await readConfig(document);
  const view = new View(root, config.words);
  view.render({ at: "loading", fields: FIELDS, lastFour: "", network: "" });
  if (window.parent === window) {
    view.render({
      at: "failed",
      failure: new Failure("origin_refused"),
      retryable: false,
      secs: 0,
    });
    return;
  }
  await hold(config, (post) => {
    view.wear = attire(config, post);
    reportSize(root, post);
    // Not before: a frame that was prepared has no size until it is a card's.
    const around = {
      ...browser,
      sight: lookAt(root, ROOM.card),
      askFactor: window.cardveilCode,
    };
    return new Card(config, around, view, post);
  });
}

const root = document.getElementById("cardveil-root");
if (root !== null) void start(root);
