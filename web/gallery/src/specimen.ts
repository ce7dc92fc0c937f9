/**
 * One specimen in a document of its own, as in a frame: `?of=states.3`, with `theme` and `lang` for
 * all.
 */
import type { Appearance, PartConfiguration } from "@cardveil/protocol";
import { attire } from "../../frame/src/design.ts";
import { dress } from "../../frame/src/dress.ts";
import { Failure } from "../../frame/src/failure.ts";
import { PartView } from "../../frame/src/part.ts";
import { Sighting } from "../../frame/src/sight.ts";
import { View } from "../../frame/src/view.ts";
import { LANGUAGES } from "../../frame/src/words/all.ts";
import { en } from "../../frame/src/words/en.ts";
import { about, wordsFor } from "../../frame/src/words/index.ts";
import { notice } from "../../sdk/src/notice.ts";
import { sorryIn } from "../../sdk/src/sorry.ts";
import { DESIGNS, SECTIONS, type Specimen } from "./specimens.ts";

const query = new URLSearchParams(location.search);
const [section = "", index = ""] = (query.get("of") ?? "").split(".");
const specimen = SECTIONS[section]?.specimens[Number(index)];
const root = document.getElementById("cardveil-root");
if (root !== null && specimen !== undefined) draw(root, specimen);

function draw(root: HTMLElement, specimen: Specimen): void {
  const lang = specimen.lang ?? query.get("lang") ?? "en";
  const words = { lang, ...(LANGUAGES[lang] ?? en) };
  const theme = (query.get("theme") ?? "auto") as Appearance["theme"];
  const appearance: Appearance = { theme, ...specimen.appearance };
  const speech = wordsFor(words, lang, {});
  if ("notice" in specimen) {
    dress(speech, appearance);
    const { unreachable, retry } = sorryIn(lang);
    root.replaceChildren(
      notice(unreachable, retry, lang, theme === "auto" ? "light dark" : theme, () => {}),
    );
  } else if ("part" in specimen) {
    dress(speech, appearance);
    const { part, transparent = false } = specimen;
    const settings: PartConfiguration = {
      part,
      group: "",
      appearance,
      locale: lang,
      labels: {},
      transparent,
    };
    // Nothing runs out, and nothing is copied, in a gallery.
    const view = new PartView(root, speech, settings, {
      copy: async () => true,
      painted: async () => {},
      timer: () => () => {},
      sight: new Sighting(() => 0, "unknown"),
    });
    document.title = view.title;
    view.draw(specimen.drawing());
  } else {
    const view = new View(root, words);
    view.wear = attire({ designs: DESIGNS, fonts: [] }, () => {});
    view.configure(speech, appearance);
    if ("failure" in specimen) {
      const { failure: code, retryable, waits, requestId } = specimen;
      const failure = new Failure(code, {
        retryable,
        requestId,
        ...(waits === true ? { retryAfterMs: 30_000 } : {}),
      });
      view.render({ at: "failed", failure, retryable, secs: 0 });
      if (waits === true) view.retryIn(30);
    } else {
      const scene = specimen.scene();
      view.render(scene);
      if (scene.at === "shown" && specimen.note === "fieldGone")
        view.field("cvv", "gone", scene, about(speech, "fieldGone", "cvv"));
      if (specimen.copied !== undefined) view.copied("pan", specimen.copied);
    }
  }
  // The gallery gives the frame its height, as the SDK does in a page.
  document.documentElement.dataset["drawn"] = "";
  new ResizeObserver(() => {
    const frame = window.frameElement as HTMLIFrameElement | null;
    frame?.style.setProperty("height", `${Math.ceil(root.getBoundingClientRect().height)}px`);
  }).observe(root);
}
