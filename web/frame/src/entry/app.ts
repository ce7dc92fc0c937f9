/**
 * The entry of the page that an app opens in a WebView. It is nobody's frame: the app speaks to it
 * over its bridge.
 */
import { type Surface, serveApp } from "../app.ts";
import { FIELDS } from "@cardveil/protocol";
import { browser } from "../browser.ts";
import { readConfig } from "../config.ts";
import { attire } from "../design.ts";
import { hideWhenLeft, reportSize } from "../page.ts";
import { Sighting } from "../sight.ts";
import { View } from "../view.ts";

async function start(root: HTMLElement): Promise<void> {
  const config = await readConfig(document);
  const view = new View(root, config.words);
  view.render({ at: "loading", fields: FIELDS, lastFour: "", network: "" });
  // What lies over a WebView is the app's, and nothing in the page sees it.
  const sight = new Sighting(() => performance.now(), "unknown");
  const around = { ...browser, sight, askFactor: window.cardveilCode };
  serveApp(window as Surface, config, around, view, (card, _settings, post) => {
    view.wear = attire(config, post);
    reportSize(root, post);
    hideWhenLeft(
      () => card.hide("left"),
      () => card.leave(),
    );
  });
}

const root = document.getElementById("cardveil-root");
if (root !== null) void start(root);
