import { append, native } from "./document.ts";

/**
 * What stands in the place of a frame that does not come, as high as that. Styled by CSSOM, which
 * every policy allows; whatever the page says of its elements; in a size that the cardholder's
 * browser knows; and in the colours of the system, which both schemes and forced colours know.
 */
export function notice(
  text: string,
  retry: string,
  lang: string,
  scheme: string,
  again: () => void,
): HTMLElement {
  const make = <K extends "div" | "span" | "button">(name: K, testid: string, css: string) => {
    const element = native("createElement")(name);
    element.dataset["testid"] = testid;
    element.style.cssText = `all:initial;color-scheme:${scheme};color:CanvasText;font:medium/1.4 system-ui,sans-serif;box-sizing:border-box;${css}`;
    return element;
  };
  const line = "border:1px solid color-mix(in srgb,CanvasText 30%,Canvas);border-radius:";
  const whole = text !== "";
  const box = make(
    "div",
    "cardveil-error",
    `display:flex;flex-wrap:wrap;gap:12px 16px;place-content:center;align-items:center;${whole ? `padding:16px;background:Canvas;${line}14px` : ""}`,
  );
  box.setAttribute("role", "alert");
  box.lang = lang;
  box.dir = "auto"; // its words may be in another language than the page
  if (whole) append(box, make("span", "cardveil-error-text", "flex:1 1 12em")).textContent = text;
  const button = append(
    box,
    make(
      "button",
      "cardveil-retry",
      `outline:revert;min-height:44px;padding:0 20px;cursor:pointer;font-weight:600;background:Canvas;${line}22px`,
    ),
  );
  button.type = "button";
  button.textContent = retry;
  button.addEventListener("click", again);
  return box;
}
