import { el, shape } from "./dom.ts";

/** How each network is written on a card; a network not listed here is not named. */
const NAMES: Record<string, string> = {
  amex: "American Express",
  diners: "Diners Club",
  discover: "Discover",
  jcb: "JCB",
  maestro: "Maestro",
  mastercard: "Mastercard",
  unionpay: "UnionPay",
  visa: "Visa",
};

/** The network's name, with interlocking circles for the networks that are known by them. */
export function networkMark(network: string): HTMLElement {
  const name = NAMES[network];
  if (name === undefined) return el("span", { class: "network" });
  // Named, for whoever listens where a design puts the network's own mark in the place of the name.
  const mark = el("span", { class: `network ${network}`, role: "img", label: name });
  const colours = CIRCLES[network];
  if (colours !== undefined) mark.append(circles(colours));
  mark.append(name);
  return mark;
}

const CIRCLES: Record<string, readonly [string, string, string]> = {
  mastercard: ["#eb001b", "#f79e1b", "#ff5f00"],
  maestro: ["#0099df", "#ed0006", "#6c6bbd"],
};

function circles([left, right, both]: readonly [string, string, string]): SVGSVGElement {
  const svg = shape("svg", { viewBox: "0 0 36 22", class: "circles", "aria-hidden": "true" });
  svg.append(
    shape("circle", { cx: "11", cy: "11", r: "11", fill: left }),
    shape("circle", { cx: "25", cy: "11", r: "11", fill: right }),
    shape("path", { d: "M18 2.5a11 11 0 0 1 0 17 11 11 0 0 1 0-17z", fill: both }),
  );
  return svg;
}
