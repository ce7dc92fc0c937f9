/**
 * `window.marqeta`, for pages that were written for Marqeta.js: they change one script address.
 * Each of their elements gets a part of one card; a card number is as far from the page as anywhere
 * in Cardveil.
 *
 * `bootstrap` takes the shapes of versions 2 (`component.showPan`) and 1 (`showPan` at the top).
 * What it cannot do it says on the console, once.
 *
 * To add an element: its row in `ELEMENTS`. To add a style: its case in `marqeta-styles.ts`.
 */
import { ownOf } from "@cardveil/protocol";
import type { Card, CardOptions, CardveilField, CardveilPart } from "./api.ts";
import { cardveilFrom } from "./cardveil.ts";
import { currentScript, native } from "./document.ts";
import { badOption, warnOnce } from "./error.ts";
import { textStyle } from "./marqeta-styles.ts";

interface Element_ {
  domId?: string;
  /** Digits stand in groups, whatever it says; what is copied is bare. */
  format?: boolean;
  styles?: unknown;
  /** `transparent`: a button without looks, over one that the page draws. */
  mode?: string;
  onCopySuccess?: () => void;
  onCopyFailure?: (error: Error) => void;
}

const ELEMENTS = {
  cardPan: "pan",
  cardExp: "expiry",
  cardCvv: "cvv",
  copyCardPan: "copy-pan",
  copyCardExp: "copy-expiry",
  copyCardCvv: "copy-cvv",
} as const satisfies Record<string, CardveilPart>;

type ShowPan = { [K in keyof typeof ELEMENTS]?: Element_ };

export interface MarqetaOptions {
  /** A client token of Cardveil. */
  clientAccessToken: string;
  component?: { showPan?: ShowPan };
  showPan?: ShowPan;
  callbackEvents?: { onSuccess?: () => void; onFailure?: (error: Error) => void };
}

const script = currentScript();
/** The card that an element shows a part of, so that the next one in the same place ends it. */
const shown = new WeakMap<Element, Card>();

function bootstrap(options: MarqetaOptions): void {
  const { onSuccess, onFailure } = ownOf(
    ownOf(options, "callbackEvents").callbackEvents ?? {},
    "onSuccess",
    "onFailure",
  );
  // Told later, as Marqeta's are: callers set up what these need after the call.
  const fail = (error: unknown) =>
    setTimeout(() => (onFailure === undefined ? console.error(error) : onFailure(error as Error)));
  try {
    show(options, () => onSuccess?.(), fail);
  } catch (error) {
    fail(error);
  }
}

function show(options: MarqetaOptions, succeed: () => void, fail: (error: unknown) => void): void {
  const { clientAccessToken, component, showPan } = ownOf(
    options,
    "clientAccessToken",
    "component",
    "showPan",
  );
  const places = placesOf(showPan ?? ownOf(component ?? {}, "showPan").showPan ?? {});
  const fields = FIELDS.filter((field) =>
    places.some(({ part }) => part === field || part === `copy-${field}`),
  );
  if (fields.length === 0) throw badOption("showPan needs cardPan, cardExp or cardCvv");
  const card = cardveilFrom(script?.src)({ embed: embedId() }).card({
    token: clientAccessToken,
    fields,
    // Marqeta shows all of it at once, on a page that it knows nothing of, and for as long as the
    // page likes.
    masked: false,
    appearance: { theme: "light" },
    hideAfter: 300,
    copy: fields.filter((field) => places.some(({ part }) => part === `copy-${field}`)),
  } satisfies CardOptions);

  let told = false;
  card.on("revealed", () => {
    if (told) return;
    told = true;
    succeed();
  });
  card.on("error", fail);
  card.on("copied", ({ field }) => element(field)?.onCopySuccess?.());
  card.on("warning", ({ code, message, field }) => {
    if (code === "copy_failed" && field !== undefined)
      element(field)?.onCopyFailure?.(new Error(message));
    else console.warn(`Cardveil: ${message}`);
  });
  const element = (field: CardveilField) =>
    places.find(({ part }) => part === `copy-${field}`)?.element;

  for (const { into } of places) shown.get(into)?.destroy();
  for (const { part, into, element } of places) {
    shown.set(into, card);
    const transparent = part.startsWith("copy-") && element.mode === "transparent";
    card.mount(into, part, { appearance: { text: textStyle(element.styles, into) }, transparent });
  }
}

const FIELDS = ["pan", "expiry", "cvv"] as const;

function placesOf(showPan: ShowPan): { part: CardveilPart; into: Element; element: Element_ }[] {
  for (const name of Object.keys(showPan))
    if (!Object.hasOwn(ELEMENTS, name)) warnOnce(`showPan.${name} is not known here`);
  return (Object.keys(ELEMENTS) as (keyof typeof ELEMENTS)[]).flatMap((name) => {
    const given = ownOf(showPan, name)[name];
    if (given === undefined) return [];
    const element = ownOf(
      given,
      "domId",
      "format",
      "styles",
      "mode",
      "onCopySuccess",
      "onCopyFailure",
    );
    const into = native("getElementById")(String(element.domId));
    if (into === null) throw badOption(`${name}.domId must name an element of the page`);
    if (element.format === false)
      warnOnce("format: false is not known here: digits stand in groups, and are copied without");
    return [{ part: ELEMENTS[name], into, element }];
  });
}

/** From `data-embed` of the script, or `?embed=` of its address. */
function embedId(): string {
  const embed =
    script?.getAttribute("data-embed") ?? (script && new URL(script.src).searchParams.get("embed"));
  if (!embed)
    throw badOption(
      'the script of marqeta.js needs data-embed="emb_...", or ?embed=emb_... in its address',
    );
  return embed;
}

/**
 * Version 1's. No script of a page may reach into a frame, nor may it copy for one: browsers see to
 * that.
 */
function copyToClipboard(domId: string): false {
  warnOnce(
    `copyToClipboard("${domId}") copied nothing: only a click in the frame can. Lay copyCardPan: { domId, mode: "transparent" } over your button`,
  );
  return false;
}

declare global {
  interface Window {
    marqeta?: { bootstrap(options: MarqetaOptions): void; copyToClipboard(domId: string): false };
  }
}

window.marqeta = { bootstrap, copyToClipboard };
