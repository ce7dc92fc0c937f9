/** The entry of a frame that shows one part of a card that another frame holds. It redeems nothing. */
import { browser } from "./browser.ts";
import { readConfig } from "./config.ts";
import { dress } from "./dress.ts";
import { firstMessage, hideWhenLeft, reportSize, wearFont } from "./page.ts";
import { allowed, PartView } from "./part.ts";
import { join } from "./siblings.ts";
import { lookAt, ROOM } from "./sight.ts";
import { wordsFor } from "./words/index.ts";

async function start(root: HTMLElement): Promise<void> {
  const config = readConfig(document);
  const around = { ...browser, sight: lookAt(root, ROOM.part) };
  if (window.parent === window) return;
  const [settings, channel] = await firstMessage(config);
  if (settings.type !== "part") return;
  const { appearance, locale, labels, group, part } = settings;
  const transparent = allowed(config, settings, channel.post);
  const speech = wordsFor(config.words, locale, labels);
  dress(speech, appearance);
  const view = new PartView(root, speech, { ...settings, transparent }, around);
  document.title = view.title;
  const clear = () => view.clear();
  channel.hear(({ type }) => {
    if (type === "destroy") clear();
  });
  channel.onClose(clear);
  hideWhenLeft(clear, clear);
  window.addEventListener("pagehide", ({ persisted }) => {
    if (!persisted) view.leave();
  });
  wearFont(config, appearance, channel.post);
  if (!transparent) reportSize(root, channel.post, () => view.baseline);
  channel.ready(view.title);
  view.attach(await join(group, config.embed, part, around.sight.now));
}

const root = document.getElementById("cardveil-root");
if (root !== null) void start(root);
