/**
 * `<cardveil-card>` and `<cardveil-part>` in React's JSX: `import type {} from "@cardveil/js/jsx"`,
 * once.
 */
import type { HTMLAttributes, RefAttributes } from "react";
import type {
  CardveilCardElement,
  CardveilElementEvents,
  CardveilPart,
  CardveilPartElement,
} from "./api.ts";

/** From React 19 on, `onrevealed={({ detail }) => ...}`, and objects as properties. */
type Events = {
  [E in keyof CardveilElementEvents as `on${E}`]?: (event: CardveilElementEvents[E]) => void;
};
type Some = true | string;

export interface CardveilCardAttributes
  extends HTMLAttributes<CardveilCardElement>, RefAttributes<CardveilCardElement>, Events {
  embed?: string;
  token?: CardveilCardElement["token"];
  "client-url"?: string;
  fields?: string;
  masked?: Some;
  copy?: Some;
  locale?: string;
  "hide-after"?: number | string;
  "frame-title"?: string;
  theme?: "light" | "dark" | "auto";
  accent?: string;
  radius?: number | string;
  font?: string;
  design?: string;
  appearance?: CardveilCardElement["appearance"];
  labels?: CardveilCardElement["labels"];
  timeouts?: CardveilCardElement["timeouts"];
}

export interface CardveilPartAttributes
  extends HTMLAttributes<CardveilPartElement>, RefAttributes<CardveilPartElement> {
  name: CardveilPart;
  transparent?: true | "";
  "frame-title"?: string;
}

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "cardveil-card": CardveilCardAttributes;
      "cardveil-part": CardveilPartAttributes;
    }
  }
}
