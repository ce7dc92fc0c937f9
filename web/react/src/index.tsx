/** Cardveil for React. Importing it, and rendering it on a server, touches nothing of a browser. */
export type {
  CardAppearance,
  CardError,
  CardErrorCode,
  CardEvents,
  CardOptions,
  CardveilField,
  CardWarning,
} from "@cardveil/js/pure";
export type { CardHandlers, CardHandle, CardProps } from "./card.ts";
export { CardveilCard, type CardveilCardProps } from "./whole.tsx";
export {
  CardveilPart,
  type CardveilPartProps,
  CardveilProvider,
  type CardveilProviderProps,
  useCardveil,
} from "./parts.tsx";
