/** A card in parts, which a page places by itself; any number of them share one token. */
import type { CardveilPart as Part, PartOptions } from "@cardveil/js/pure";
import { ownOf } from "@cardveil/protocol";
import {
  createContext,
  type CSSProperties,
  forwardRef,
  type ReactNode,
  useContext,
  useEffect,
  useImperativeHandle,
  useMemo,
  useRef,
} from "react";
import { type CardHandle, type CardProps, type Living, useCard, written } from "./card.ts";

interface Provided {
  living: Living | undefined;
  handle: CardHandle;
}

const Context = createContext<Provided | undefined>(undefined);

export type CardveilProviderProps = CardProps & { children?: ReactNode };

/** Holds the card of the parts inside it. The card is revealed with its first part. */
export const CardveilProvider = forwardRef<CardHandle, CardveilProviderProps>(
  function CardveilProvider(props, ref) {
    const inner = useRef<CardHandle>(null);
    const living = useCard(props, inner, () => {});
    const handle = useMemo<CardHandle>(
      () => ({ reveal: () => inner.current?.reveal(), hide: () => inner.current?.hide() }),
      [],
    );
    useImperativeHandle(ref, () => handle, [handle]);
    const provided = useMemo(() => ({ living, handle }), [living, handle]);
    return (
      <Context.Provider value={provided}>{ownOf(props, "children").children}</Context.Provider>
    );
  },
);

export type CardveilPartProps = Omit<PartOptions, "transparent"> & {
  /** What it shows or does. */
  name: Part;
  /** A button without looks that fills its element, to lie over a button that the page draws. */
  transparent?: boolean;
  /** Of the element around the frame. */
  className?: string;
  style?: CSSProperties;
  id?: string;
};

/** One part of the card of the `CardveilProvider` around it, in a frame of its own. */
export function CardveilPart(props: CardveilPartProps): ReactNode {
  const { name, appearance, transparent, title, className, style, id } = ownOf(
    props,
    "name",
    "appearance",
    "transparent",
    "title",
    "className",
    "style",
    "id",
  );
  const { living } = useProvided("CardveilPart");
  const element = useRef<HTMLDivElement>(null);
  const key = written([appearance, transparent, title]);
  useEffect(() => {
    let unmount: (() => void) | undefined;
    let unwanted = false;
    // Like the card itself after the commit, for StrictMode.
    queueMicrotask(() => {
      if (unwanted || living === undefined || living.over || element.current === null) return;
      const options: PartOptions = {
        ...(appearance === undefined ? {} : { appearance }),
        ...(transparent === undefined ? {} : { transparent }),
        ...(title === undefined ? {} : { title }),
      };
      try {
        unmount = living.card.mount(element.current, name, options);
      } catch (error) {
        living.fail(error);
      }
    });
    return () => {
      unwanted = true;
      unmount?.();
    };
  }, [living, name, key]); // `key` says what the options say
  return <div ref={element} className={className} style={style} id={id} data-cardveil={name} />;
}

/** `reveal` and `hide` of the card around, for buttons of the page's own. */
export const useCardveil = (): CardHandle => useProvided("useCardveil").handle;

function useProvided(who: string): Provided {
  const provided = useContext(Context);
  if (provided === undefined)
    throw new Error(`Cardveil: ${who} needs a CardveilProvider around it`);
  return provided;
}
