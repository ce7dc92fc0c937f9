import type { CardveilFactory } from "./cardveil.js";
export type * from "./cardveil.js";
export declare const Cardveil: CardveilFactory;
/** Defines `<cardveil-card>`, once, where there are elements at all. */
export declare const defineCardveilElement: () => void;
