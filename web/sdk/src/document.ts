/**
 * The document as the browser made it: an element that the page names after one of its members,
 * such as `<img name="querySelector">`, stands in front of that member.
 */
export function native<K extends keyof Document>(name: K): Document[K] {
  const member = of(Document, name, document);
  return typeof member === "function" ? member.bind(document) : member;
}

/** A node's member, likewise: a form's inputs stand in front of its own. */
export const of = <T, K extends keyof T>({ prototype }: { prototype: T }, name: K, node: T): T[K] =>
  Reflect.get(prototype as object, name, node);

/** The classic script that is running, where it is one. */
export function currentScript(): HTMLScriptElement | undefined {
  const script = native("currentScript");
  return script instanceof HTMLScriptElement ? script : undefined;
}

/** Into any element: a form's inputs stand in front of its members, too. */
export function append<E extends Element>(into: Element, element: E): E {
  Element.prototype.append.call(into, element);
  return element;
}
