/** Elements without markup: the frame's Trusted Types policy allows no string to become HTML. */
export interface Props {
  class?: string;
  testid?: string;
  role?: string;
  label?: string;
  hidden?: boolean;
  focusable?: boolean;
}

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (props.class !== undefined) element.className = props.class;
  if (props.testid !== undefined) element.dataset["testid"] = `cardveil-${props.testid}`;
  if (props.role !== undefined) element.setAttribute("role", props.role);
  if (props.label !== undefined) element.setAttribute("aria-label", props.label);
  if (props.hidden === true) element.setAttribute("aria-hidden", "true");
  if (props.focusable === true) element.tabIndex = -1;
  element.append(...children);
  return element;
}

export function button(
  props: Props,
  click: () => void,
  ...children: (Node | string)[]
): HTMLButtonElement {
  const element = el("button", props, ...children);
  element.type = "button";
  if (props.label !== undefined) element.title = props.label;
  element.addEventListener("click", click);
  return element;
}

/** A 24 by 24 line drawing. */
export function icon(...paths: string[]): SVGSVGElement {
  const svg = shape("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" });
  svg.append(...paths.map((d) => shape("path", { d })));
  return svg;
}

export function shape<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string>,
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
