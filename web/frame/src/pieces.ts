/** What a card is drawn of, whole or in parts. */
import type { Field } from "@cardveil/protocol";
import { button, el, icon } from "./dom.ts";
import { groups } from "./secrets.ts";
import type { FieldState, Known } from "./stage.ts";
import { about, fill, type Speech } from "./words/index.ts";

/** The number in the groups in which a card prints it. */
export function number(speech: Speech, pan: string, network: string): HTMLElement {
  const parts = groups(pan, network);
  // Read digit by digit, with a pause between groups; an image, so that it is not read twice.
  const label = `${speech.labels.number}: ${parts.map((group) => [...group].join(" ")).join(", ")}`;
  const digits = el("span", {
    class: pan.length > 16 ? "digits long" : "digits",
    testid: "pan",
    role: "img",
    label,
  });
  digits.dir = "ltr";
  // A span for every digit, or iOS makes the number a telephone link.
  digits.append(...parts.map((group) => el("span", { class: "group" }, ...split(group))));
  return digits;
}

/** In the places that the digits have: what hides and comes again does not move. */
export function maskedNumber(speech: Speech, { lastFour, network }: Known): HTMLElement {
  const label =
    lastFour === ""
      ? speech.labels.hidden
      : fill(speech.labels.numberEnding, "digits", [...lastFour].join(" "));
  const written = "•".repeat((LENGTHS[network] ?? 16) - lastFour.length) + lastFour;
  const digits = el(
    "span",
    { class: "digits masked", role: "img", label },
    ...groups(written, network).map((group) => el("span", { class: "group" }, ...split(group))),
  );
  digits.dir = "ltr";
  return digits;
}

/** Where a network's numbers have others than 16 digits. */
const LENGTHS: Record<string, number> = { amex: 15, diners: 14 };

/** In the place of a field. */
export const hidden = (speech: Speech, field: Field, of: Known): HTMLElement =>
  field === "pan"
    ? maskedNumber(speech, of)
    : el(
        "span",
        { class: "masked", hidden: true },
        { expiry: "••/••", cvv: "•••", name: "••••••••" }[field],
      );

/**
 * Any other field; left to right unless it is a name, digit by digit where iOS would see a
 * telephone number.
 */
export function text(field: Field, value: string, focusable = false): HTMLElement {
  const shown = el(
    "span",
    { class: "value", testid: field, focusable },
    ...(field === "cvv" ? split(value) : [value]),
  );
  if (field === "name" && value.length > 22)
    shown.classList.add(value.length > 52 ? "longest" : "long");
  shown.dir = field === "name" ? "auto" : "ltr";
  return shown;
}

/** In the place of a field that the card does not have. */
export function absent(speech: Speech, field: Field): HTMLElement {
  return el(
    "span",
    { class: "masked", role: "img", label: about(speech, "fieldAbsent", field) },
    "–",
  );
}

export function showButton(
  speech: Speech,
  field: Field,
  state: FieldState,
  click: () => void,
): HTMLButtonElement {
  const show = button(
    { class: "show-field", testid: `show-${field}`, label: about(speech, "showField", field) },
    click,
  );
  show.append(icon(...EYE), el("span", { class: "word" }, speech.labels.showShort));
  // Not `disabled`, which would drop the keyboard's focus while the answer is on its way.
  if (state !== "masked") show.setAttribute("aria-disabled", "true");
  if (state === "loading") show.setAttribute("aria-busy", "true");
  return show;
}

/** Nothing before anything is shown. */
export const hidesIn = ({ labels }: Speech, secs: number): string =>
  secs > 0 ? fill(labels.hidesIn, "seconds", secs) : "";

const split = (digits: string) => [...digits].map((digit) => el("span", {}, digit));

export const COPY = [
  "M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1z",
  "M16 8V5a1 1 0 0 0-1-1H5a1 1 0 0 0-1 1v10a1 1 0 0 0 1 1h3",
];
export const CHECK = ["M5 12.5l4.5 4.5L19 7.5"];
export const EYE = [
  "M2 12s3.6-7 10-7 10 7 10 7-3.6 7-10 7-10-7-10-7z",
  "M12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6z",
];
export const EYE_OFF = [
  "M10.6 5.1A10 10 0 0 1 12 5c6.4 0 10 7 10 7a17 17 0 0 1-3.2 4",
  "M6.5 6.6A16.5 16.5 0 0 0 2 12s3.6 7 10 7a10 10 0 0 0 5.4-1.6",
  "M9.9 9.9a3 3 0 0 0 4.2 4.2",
  "M3 3l18 18",
];
