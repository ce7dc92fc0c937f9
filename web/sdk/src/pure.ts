/**
 * The SDK for bundlers and servers: importing it does nothing and touches nothing of a browser, so
 * it can be loaded where pages are rendered, and left out where it is not used.
 */
import type { CardveilFactory } from "./api.ts";
import { cardveilFrom } from "./cardveil.ts";
import { defineElement } from "./element.ts";

export type * from "./api.ts";

export const Cardveil: CardveilFactory = /* @__PURE__ */ cardveilFrom(import.meta.url);
/** Defines `<cardveil-card>`, once, where there are elements at all. */
export const defineCardveilElement = (): void => defineElement(Cardveil);
