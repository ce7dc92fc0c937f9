import type { CardveilFactory } from "./api.ts";
import { cardveilFrom } from "./cardveil.ts";
import { defineElement } from "./element.ts";

export type * from "./api.ts";

export const Cardveil: CardveilFactory = cardveilFrom(import.meta.url);
defineElement(Cardveil);
