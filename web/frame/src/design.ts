/**
 * Designs: what a card's face wears in the place of the frame's own look, by the card's product or
 * as its page asks.
 *
 * **Invariant**: a design's ink is worn only with its pictures, once all of them are there. Until
 * then, and where one does not load, the face keeps a look in which everything can be read.
 */
import type { Appearance, ForPage } from "@cardveil/protocol";
import type { Config } from "./config.ts";
import { wearFont } from "./page.ts";
import type { Known } from "./stage.ts";

export interface RegisteredDesign {
  name: string;
  /** Whose the mark is: cards of other networks do not wear it. */
  network?: string;
  light: Look;
  dark: Look;
}

/**
 * Colours, and pictures by their addresses on our own origin: `ink`, the `veil` that it stands out
 * from, `art`, and maybe a `logo` and a `mark`. Each is `--art-ink` and so on in frame.css.
 */
type Look = Record<string, string>;

/**
 * What a view calls with each scene, and each second of one: so a card changes with its product,
 * its page and its scheme.
 */
export function attire(
  config: Pick<Config, "designs" | "fonts">,
  post: (message: ForPage) => void,
) {
  let last: string;
  return async (appearance: Appearance, known: Partial<Known>): Promise<void> => {
    wearFont(config, appearance, post);
    const name = known.design ?? appearance.design;
    const design = config.designs.find((design) => design.name === name);
    // Nothing that has the browser work its styles out: WebKit then keeps what `:has` said before.
    const { theme } = html.dataset;
    const isDark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches;
    const look = { ...(isDark ? design?.dark : design?.light) };
    if (design?.network !== known.network) delete look["mark"];
    const next = name + Object.values(look).join();
    if (next === last) return;
    last = next;
    const there = await Promise.all(Object.values(look).map(load)).then(
      () => Object.keys(look).join(" "),
      () => "",
    );
    if (next !== last) return;
    if (name !== undefined && there === "")
      post({
        type: "warning",
        code: "design_unavailable",
        message: "The design is not registered, or did not load.",
      });
    html.dataset["art"] = there;
    for (const [key, value] of Object.entries(look))
      html.style.setProperty(`--art-${key}`, isColour(value) ? value : `url(${value})`);
  };
}

const html = document.documentElement;
const isColour = (value: string) => value.startsWith("#");

/** Rejects where there is no picture at the address. */
const load = (value: string) =>
  isColour(value) || Object.assign(new Image(), { src: value }).decode();
