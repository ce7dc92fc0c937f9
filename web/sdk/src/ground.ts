/**
 * What a frame stands on in its page, which the frame cannot see: it paints nothing behind its
 * text.
 */
import { bare, type Ground } from "@cardveil/protocol";
import { append, native, of } from "./document.ts";

/**
 * Answers with a way to see what lies behind a frame, and calls back when that may be something
 * else.
 */
export function watchGround(
  frame: Element,
  signal: AbortSignal,
  changed: () => void,
): () => Ground {
  // Within an iframe nothing is rendered, and styles are worked out all the same.
  const { style } = append(frame, native("createElement")("i"));
  const probe = getComputedStyle(frame.lastChild as Element);
  let next = 0;
  /** Once for each picture, and for none while nobody looks. */
  const soon = () => {
    cancelAnimationFrame(next);
    next = requestAnimationFrame(() => signal.aborted || changed());
  };
  const until = bare({ signal, capture: true });
  const mutations = new MutationObserver(soon);
  // Of styles that come late, too.
  for (const event of ["transitionend", "load", "scrollend"])
    window.addEventListener(event, soon, until);
  matchMedia("(prefers-color-scheme:dark)").addEventListener("change", soon, until);
  signal.addEventListener("abort", () => mutations.disconnect());

  return () => {
    const color: [number, number, number] = [0, 0, 0];
    /** How much of what lies further behind comes through. */
    let left = 1;
    let known = true;
    /** Any colour that CSS knows; white where nothing is computed. */
    const paint = (colour: string) => {
      style.color = `color-mix(in srgb,${colour},${colour})`;
      const numbers = /srgb (.+)\)/.exec(probe.color)?.[1]?.split(/[ /]+/);
      if (numbers === undefined) known = false;
      const of = (i: number) => parseFloat(numbers?.[i] ?? "1") || 0;
      color.forEach((value, i) => (color[i] = value + of(i) * of(3) * left));
      left *= 1 - of(3);
    };
    /** What is as wide as the frame and shows a picture may lie behind all of it. */
    const look = (element: Element, pseudo?: string) => {
      const { backgroundImage, width } = getComputedStyle(element, pseudo);
      if (
        (backgroundImage !== "none" || /^(img|video|canvas)$/.test(element.localName)) &&
        parseFloat(width) >= frame.clientWidth
      )
        known = false;
    };
    const { left: x, top: y, width, height } = frame.getBoundingClientRect();
    const there = native("elementsFromPoint")?.(x + width / 2, y + height / 2) ?? [];
    const ancestors: Element[] = [frame];
    mutations.disconnect();
    mutations.observe(native("head"), bare({ attributes: true, childList: true, subtree: true }));
    for (let at: Node | null = around(frame); at instanceof Element; at = around(at)) {
      mutations.observe(at, bare({ attributes: true }));
      ancestors.push(at);
      look(at, "::before");
      look(at, "::after");
      const { backgroundColor, backgroundImage, colorScheme } = getComputedStyle(at);
      if (left > 0.01 && backgroundImage !== "none") known = false;
      paint(backgroundColor);
      style.colorScheme = colorScheme; // at last the root's, which is the canvas's
    }
    if (left > 0.01 && parent !== window) known = false;
    // The first of ours is the frame, or the host of its shadow; what comes before lies over it.
    const ours = (element: Element) => ancestors.includes(element);
    for (const element of there.slice(there.findIndex(ours))) if (!ours(element)) look(element);
    paint("Canvas");
    const [red, green, blue] = color;
    return {
      scheme: 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 ? "light" : "dark",
      ...(known ? { color } : {}),
    };
  };
}

/** What an element is drawn in: its slot, its parent, the host of its shadow. */
function around(element: Element): Node | null {
  const parent = of(Element, "assignedSlot", element) ?? of(Node, "parentNode", element);
  return parent instanceof ShadowRoot ? parent.host : parent;
}
