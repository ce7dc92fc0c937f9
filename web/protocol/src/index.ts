/** The messages between page and frame, and how each side reads them. */
export { parseConnect, parseForFrame } from "./for-frame.ts";
export { isHello, parseForPage } from "./for-page.ts";
export * from "./messages.ts";
export {
  bare,
  members,
  ownOf,
  type Parser,
  type Shape,
  type Strange,
  text,
  within,
} from "./parse.ts";
export * from "./values.ts";
