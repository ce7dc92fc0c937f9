/**
 * How WebKit's locators find elements: a description of them, and the function that looks, in the
 * page.
 */
import type { Role } from "./page.ts";

export type Words = string | { source: string; flags: string };

export type Query =
  | { css: string; inside?: Query }
  | { text: string; exact: boolean; inside?: Query }
  | { role: Role; name?: Words; inside?: Query }
  | { all: Query; with: Words }
  | { all: Query; nth: number }
  | { all: Query; and: Query }
  | { all: Query; or: Query };

/** Runs in the page, so it knows nothing but its argument. */
export function find(query: Query): Element[] {
  const ROLES: Record<Role, string> = {
    button: "button, [role=button]",
    dialog: "dialog, [role=dialog]",
    group: "fieldset, [role=group]",
    img: "img, [role=img]",
    list: "ul, ol, [role=list]",
    listitem: "li, [role=listitem]",
    radio: "input[type=radio]",
    status: "output, [role=status]",
  };
  const words = (text: string | null | undefined) => (text ?? "").replace(/\s+/g, " ").trim();
  const says = (text: string, wanted: Words) =>
    typeof wanted === "string"
      ? text.toLowerCase().includes(wanted.toLowerCase())
      : new RegExp(wanted.source, wanted.flags).test(text);
  const labelled = (element: Element) =>
    element
      .getAttribute("aria-labelledby")
      ?.split(" ")
      .map((id) => document.getElementById(id)?.textContent)
      .join(" ");
  const name = (element: Element) =>
    words(
      labelled(element) ??
        element.getAttribute("aria-label") ??
        (element instanceof HTMLFieldSetElement
          ? element.querySelector("legend")?.textContent
          : element.textContent),
    );
  const heard = (element: Element) =>
    (element as HTMLElement).checkVisibility({ visibilityProperty: true });
  const all = (query: Query): Element[] => {
    if ("and" in query) return all(query.all).filter((element) => all(query.and).includes(element));
    if ("or" in query) {
      const either = [...all(query.all), ...all(query.or)];
      return [...document.querySelectorAll("*")].filter((element) => either.includes(element));
    }
    if ("with" in query)
      return all(query.all).filter((element) => says(words(element.textContent), query.with));
    if ("nth" in query) return all(query.all).slice(query.nth, query.nth + 1 || undefined);
    const places: ParentNode[] = query.inside === undefined ? [document] : all(query.inside);
    const inPlaces = (css: string) => [
      ...new Set(places.flatMap((place) => [...place.querySelectorAll(css)])),
    ];
    if ("css" in query) return inPlaces(query.css);
    if ("role" in query) {
      return inPlaces(ROLES[query.role]).filter(
        (element) =>
          heard(element) && (query.name === undefined || says(name(element), query.name)),
      );
    }
    const fits = (element: Element) =>
      query.exact
        ? words(element.textContent) === query.text
        : says(words(element.textContent), query.text);
    // The innermost that says it.
    return inPlaces("body *:not(script, style)").filter(
      (element) => fits(element) && ![...element.children].some(fits),
    );
  };
  return all(query);
}
