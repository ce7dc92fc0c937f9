/**
 * One card for one component, for as long as what it shows stays the same; how it looks and speaks
 * may change.
 *
 * **Invariant**: options are compared by what they say, so a component that renders with equal
 * ones, made anew each time, keeps its card. Functions are not compared: the latest is called.
 * **Invariant**: a card is made after the commit that wants it, so React's StrictMode, which mounts
 * twice in one task, makes one card, one frame and asks for one token.
 */
import {
  type Card,
  type CardEvents,
  type CardOptions,
  Cardveil,
  type CardveilOptions,
} from "@cardveil/js/pure";
import { ownOf } from "@cardveil/protocol";
import { type Ref, useEffect, useImperativeHandle, useRef, useState } from "react";

export interface CardHandlers {
  onReady?: () => void;
  onRevealed?: (detail: CardEvents["revealed"]) => void;
  onHidden?: () => void;
  onCopied?: (detail: CardEvents["copied"]) => void;
  onExpired?: () => void;
  onWarning?: (warning: CardEvents["warning"]) => void;
  /** Without it, errors go to the console. The frame tells the cardholder in either case. */
  onError?: (error: CardEvents["error"]) => void;
}

const HANDLERS = [
  "onReady",
  "onRevealed",
  "onHidden",
  "onCopied",
  "onExpired",
  "onWarning",
  "onError",
] as const;
const FIXED = ["fields", "masked"] as const;
const LIVE = ["appearance", "locale", "hideAfter", "copy", "labels", "title", "timeouts"] as const;
const PROPS = ["embed", "clientUrl", "token", ...FIXED, ...LIVE, ...HANDLERS] as const;

/** What `veil.card()` takes, where the embed is, and what to be told of. */
export type CardProps = CardveilOptions & CardOptions & CardHandlers;

/** What a ref to a card gives. */
export interface CardHandle {
  /** Shows the details again after they were hidden. */
  reveal(): void;
  /** Clears the details from the screen and from memory. */
  hide(): void;
}

/** A card that parts can be mounted from, until it is over. */
export interface Living {
  readonly card: Card;
  over: boolean;
  /** Tells of a wrong option. */
  fail(error: unknown): void;
}

export function useCard(
  given: CardProps,
  ref: Ref<CardHandle> | undefined,
  started: (card: Card) => void,
): Living | undefined {
  const props = ownOf(given, ...PROPS);
  const [living, setLiving] = useState<Living>();
  const current = useRef<Living>(undefined);
  /** Counts the cards that could not be made, each for an option that has changed since. */
  const [failures, setFailures] = useState(0);
  const failed = useRef(false);
  const latest = useRef({ props, started });
  // Before the effects that start a card, and on every render.
  useEffect(() => {
    latest.current = { props, started };
  });

  const key = keyOf(props);
  useEffect(() => {
    let unwanted = false;
    queueMicrotask(() => {
      if (unwanted) return;
      failed.current = false;
      try {
        current.current = start(latest);
        setLiving(current.current);
      } catch (error) {
        // A wrong option. It must not take the whole tree down, as an error in an effect would.
        failed.current = true;
        tell(latest.current.props, error as CardEvents["error"]);
      }
    });
    return () => {
      unwanted = true;
      if (current.current === undefined) return;
      current.current.over = true;
      current.current.card.destroy();
      current.current = undefined;
      setLiving(undefined);
    };
  }, [key, failures]);

  useEffect(() => {
    if (failed.current) setFailures((times) => times + 1);
    try {
      // What is no longer given is as if it had never been.
      current.current?.card.update(
        Object.fromEntries(LIVE.map((name) => [name, latest.current.props[name]])),
      );
    } catch (error) {
      tell(latest.current.props, error as CardEvents["error"]);
    }
  }, [written(ownOf(props, ...LIVE))]);

  useImperativeHandle(
    ref,
    () => ({
      reveal: () => current.current?.card.reveal(),
      hide: () => current.current?.card.hide(),
    }),
    [],
  );
  return living;
}

type Latest = { readonly current: { props: CardProps; started: (card: Card) => void } };

function start(latest: Latest): Living {
  const { props, started } = latest.current;
  const { embed, clientUrl, token } = props;
  const place = defined({ embed, clientUrl }) as unknown as CardveilOptions;
  const options = defined(ownOf(props, ...FIXED, ...LIVE));
  // The function of the latest render, whichever that is when a token is needed.
  const asked = () => {
    const { token } = latest.current.props;
    return typeof token === "function" ? token() : token;
  };
  const card = Cardveil(place).card({
    ...options,
    token: typeof token === "function" ? asked : token,
  });
  card.on("ready", () => latest.current.props.onReady?.());
  card.on("revealed", (detail) => latest.current.props.onRevealed?.(detail));
  card.on("hidden", () => latest.current.props.onHidden?.());
  card.on("copied", (detail) => latest.current.props.onCopied?.(detail));
  card.on("expired", () => latest.current.props.onExpired?.());
  card.on("warning", (warning) => latest.current.props.onWarning?.(warning));
  card.on("error", (error) => tell(latest.current.props, error));
  try {
    started(card);
  } catch (error) {
    card.destroy();
    throw error;
  }
  return {
    card,
    over: false,
    fail: (error) => tell(latest.current.props, error as CardEvents["error"]),
  };
}

function tell({ onError }: CardProps, error: CardEvents["error"]): void {
  if (onError === undefined) console.error(error);
  else onError(error);
}

/** What makes another card when it changes. */
function keyOf(props: CardProps): string {
  const { embed, clientUrl, token } = props;
  return written([
    embed,
    clientUrl,
    typeof token === "function" ? {} : token,
    ownOf(props, ...FIXED),
  ]);
}

/**
 * A value as text; two that say the same give the same, in whatever order their members are. No
 * object goes to `JSON.stringify`, which would ask a `toJSON` of `Object.prototype` what the object
 * says.
 */
export function written(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  if (Array.isArray(value)) return `[${value.map((member) => written(member)).join()}]`;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members
    .map(([name, member]) => `${JSON.stringify(name)}:${written(member)}`)
    .sort()
    .join()}}`;
}

/** Without the members that are undefined: for React, a prop that is undefined was not given. */
function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
