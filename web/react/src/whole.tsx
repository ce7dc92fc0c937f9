import { ownOf } from "@cardveil/protocol";
import { type CSSProperties, forwardRef, useRef } from "react";
import { type CardHandle, type CardProps, useCard } from "./card.ts";

export type CardveilCardProps = CardProps & {
  /** Of the element around the frame. */
  className?: string;
  style?: CSSProperties;
  id?: string;
};

/** A whole card in one frame. On a server it is an empty element, whose place the frame takes. */
export const CardveilCard = forwardRef<CardHandle, CardveilCardProps>(
  function CardveilCard(props, ref) {
    const element = useRef<HTMLDivElement>(null);
    useCard(props, ref, (card) => {
      if (element.current !== null) card.mount(element.current);
    });
    const { className, style, id } = ownOf(props, "className", "style", "id");
    return <div ref={element} className={className} style={style} id={id} data-cardveil="card" />;
  },
);
