/**
 * The entry of a frame that shows one part of a card that another frame holds. It redeems nothing.
 */
import { browser } from "../browser.ts";
import { readConfig } from "../config.ts";
import { dress } from "../dress.ts";
import { firstMessage, hideWhenLeft, reportSize, wearFont } from "../page.ts";
import { allowed, PartView } from "../part.ts";
import { join } from "../siblings.ts";
import { lookAt, ROOM } from "../sight.ts";
import { Tongue } from "../words/tongue.ts";

async function start(root: HTMLElement): Promise<void> {
  const config = await readConfig(document);
  const around = { ...browser, sight: lookAt(root, ROOM.part) };
  if (window.parent === window) return;
  const [settings, channel] = await firstMessage(config);
  if (settings.type !== "part") return;
  const { group, part } = settings;
  const transparent = allowed(config, settings, channel.post);
  const tongue = new Tongue(config, browser);
  let said = settings;
  const speak = () => {
    const speech = tongue.speak(said.locale, said.labels, () => speakAnew());
    dress(speech, said.appearance);
    wearFont(config, said.appearance, channel.post);
    return speech;
  };
  const view = new PartView(root, speak(), { ...settings, transparent }, around);
  document.title = view.title;
  const speakAnew = () => {
    view.speak(speak());
    if (document.title !== view.title) channel.post({ type: "title", title: view.title });
    document.title = view.title;
  };
  const clear = () => view.clear();
  channel.hear((message) => {
    if (message.type === "destroy") clear();
    if (message.type !== "update") return;
    const { type: _, ...changes } = message;
    said = { ...said, ...changes };
    speakAnew();
  });
  channel.onClose(clear);
  hideWhenLeft(clear, clear);
  // The frame that holds the card is not printed, and hears nothing of it.
  window.addEventListener("beforeprint", () => view.hide());
  window.addEventListener("pagehide", ({ persisted }) => {
    if (!persisted) view.leave();
  });
  if (!transparent) reportSize(root, channel.post, () => view.baseline);
  channel.ready(view.title);
  view.attach(await join(group, config.embed, part, around.sight.now));
}

const root = document.getElementById("cardveil-root");
if (root !== null) void start(root);
