/** The published types of the Cardveil SDK. Nothing in here runs. */

export type CardveilField = "pan" | "expiry" | "cvv" | "name";

/**
 * What a page can place by itself: a field, or a button. `toggle` shows and hides; `countdown` says
 * when.
 */
export type CardveilPart =
  CardveilField | "copy-pan" | "copy-expiry" | "copy-cvv" | "copy-name" | "toggle" | "countdown";

export interface CardveilOptions {
  /** The public id of your embed, `emb_...`. */
  embed: string;
  /**
   * Cardveil's client origin, for a copy of the SDK; one that was loaded from Cardveil itself keeps
   * to where it came from.
   */
  clientUrl?: string;
}

export interface CardOptions {
  /**
   * A client token for the card, or a function that fetches one from your server. The function is
   * called when a token is needed, and again when the cardholder asks for the details after they
   * were hidden; a string serves for as long as the server answers its key again: 30 s after the
   * first time.
   */
  token: string | (() => string | Promise<string>);
  /** What to show; all four by default. The CVV is fetched when the cardholder asks for it. */
  fields?: readonly CardveilField[];
  appearance?: CardAppearance;
  /**
   * Fields that are not fetched before the cardholder asks for them, each with a switch of its own;
   * the CVV by default. `true` for all of them: then the server is asked for nothing before the
   * first click, so the network and the last four digits come with the first field, and the time of
   * `hideAfter` begins there.
   */
  masked?: boolean | readonly CardveilField[];
  /**
   * A BCP 47 tag such as `de-CH`; the page's language by default. The frame speaks ar, de, en, es,
   * fr, ja, pt and zh.
   */
  locale?: string;
  /** Seconds until the details hide themselves: 5 to 300, by default 60. */
  hideAfter?: number;
  /** What gets a copy button, as far as your embed allows it; the number by default. */
  copy?: boolean | readonly CardveilField[];
  /** Words of your own, for languages the frame does not speak. */
  labels?: Readonly<Record<string, string>>;
  /** What a screen reader calls the frame; "Your card", in the frame's language, by default. */
  title?: string;
  /**
   * Seconds, each 5 to 120: until a frame that has not come is told as lost (20 by default; it may
   * come later still), and until your `token` function must have answered (30).
   */
  timeouts?: { frame?: number; token?: number };
}

/**
 * What `update` takes: what is not said stays, and what is said as `undefined` is as if it had
 * never been said.
 */
export type CardChanges = {
  [K in "appearance" | "locale" | "hideAfter" | "copy" | "labels" | "title" | "timeouts"]?:
    CardOptions[K] | undefined;
};

export interface PartOptions {
  /** Over the card's own. */
  appearance?: CardAppearance;
  /**
   * A button without looks that fills its element, to lie over a button that the page draws; where
   * your embed allows it.
   */
  transparent?: boolean;
  title?: string;
}

export interface CardAppearance {
  /**
   * `auto`, the default, follows what lies behind the card on your page, whatever the device
   * prefers, and goes along when that changes.
   */
  theme?: "light" | "dark" | "auto";
  /** The colour of the card's face, `#rrggbb`. */
  accent?: string;
  /** The radius of its corners in CSS pixels, 0 to 32. */
  radius?: number;
  /** `system`, or the name of a font that Cardveil's operator registered. */
  font?: string;
  /**
   * The name of a design that Cardveil's operator registered: what the face of a whole card looks
   * like, where the card's product has no design of its own.
   */
  design?: string;
  /** The programme's name on the card's face, up to 24 characters. */
  label?: string;
  /** What stands outside the face, each `#rrggbb`. */
  colors?: { ink?: string; inkSoft?: string; line?: string; control?: string; panel?: string };
  /** How a part's text is set. */
  text?: {
    color?: string;
    /** CSS pixels, 8 to 48. */
    fontSize?: number;
    /** 100 to 900. */
    fontWeight?: number;
    /** In em, -0.05 to 0.5. */
    letterSpacing?: number;
    /** A multiple of the font's size, 1 to 3. */
    lineHeight?: number;
    textAlign?: "start" | "center" | "end";
  };
}

export type CardErrorCode =
  | "token_refused"
  | "field_unavailable"
  | "origin_refused"
  | "rate_limited"
  | "unavailable"
  | "invalid_request"
  | "mfa_required"
  | "factor_unavailable"
  | "offline"
  | "timeout"
  | "unsupported"
  | "header_mismatch"
  | "internal"
  | "frame_timeout"
  | "frame_blocked"
  | "csp_blocked"
  | "embed_unknown"
  | "token_failed"
  | "bad_option";

export interface CardError extends Error {
  readonly code: CardErrorCode;
  /** Whether the same card may work when it is tried again. */
  readonly retryable: boolean;
  /** The server's id of the request, for Cardveil's operator. */
  readonly requestId?: string;
}

/**
 * Why a card cannot be seen: something lies over it (`covered`); it, or what it is in, has an
 * opacity, a filter, a blend or a transform (`effect`); it is too small; or it is not rendered at
 * all.
 */
export type CoverCause = "covered" | "effect" | "too_small" | "not_rendered";

/** Something went wrong that leaves the card as it is. */
export interface CardWarning {
  readonly code:
    | "copy_failed"
    | "field_missing"
    | "font_unavailable"
    | "design_unavailable"
    | "transparent_refused"
    | "frame_covered";
  readonly message: string;
  /**
   * Of `frame_covered`: what likely hides the frame; `message` names it, where it is the page's.
   */
  readonly cause?: CoverCause;
  /** What was to be copied, or is not there. */
  readonly field?: CardveilField;
}

export interface CardEvents {
  /** The frame is there and configured. */
  ready: void;
  /**
   * These fields are on the screen; none where all are masked. It comes again for each that the
   * cardholder asks for.
   */
  revealed: { fields: CardveilField[] };
  /** The details are gone from the screen and from memory. */
  hidden: void;
  /** The cardholder copied this field. */
  copied: { field: CardveilField };
  /** `hideAfter` ran out; `hidden` follows. */
  expired: void;
  warning: CardWarning;
  /** Something failed. The cardholder has been told by the frame; `message` is what they read. */
  error: CardError;
}

export interface Card {
  /**
   * Puts the whole card into an element, or the first that matches, and reveals it. Once per card.
   * In 320 CSS pixels or more nothing moves when it shows and hides; down to 200, where nothing is
   * cut either, its lines may break.
   */
  mount(target: string | Element): () => void;
  /**
   * Puts one part of the card into an element, in a frame of its own; the card is revealed with its
   * first part. Any number of them share one token. Returns a function that takes the part away
   * again.
   */
  mount(target: string | Element, part: CardveilPart, options?: PartOptions): () => void;
  /** Returns a function that takes the handler away again. */
  on<E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void): () => void;
  /**
   * Changes how the card looks and speaks, and when it hides, whole or in all of its parts, without
   * another token. `hideAfter` counts from when the details were shown. Throws `bad_option` for
   * another option, or a wrong one, and then changes nothing.
   */
  update(changes: CardChanges): void;
  /**
   * Shows the details again after they were hidden; loads a frame again that could not be loaded.
   */
  reveal(): void;
  /** Clears the details from the screen and from memory. */
  hide(): void;
  /** Takes the frame away for good. Never throws. */
  destroy(): void;
}

export interface Veil {
  /**
   * Throws a `CardError` with code `bad_option`, naming the option, if one is wrong. Of a name that
   * no option has the console tells, once; the card comes without it.
   */
  card(options: CardOptions): Card;
  /**
   * Loads a frame before there is a card, so that the card comes at once: with a target, the frame
   * of a whole card that is mounted there later; without, the one that a card in parts needs. It
   * shows nothing, asks for nothing, and is taken away after ten minutes, by the function that this
   * returns, or when more than four wait.
   */
  prepare(target?: string | Element): () => void;
  /**
   * Looks for what would keep a card from this page, and says what to change. Loads `doctor.js`.
   */
  doctor(): Promise<DoctorReport>;
}

export interface DoctorReport {
  /** Whether nothing stands in the way. */
  ok: boolean;
  checks: readonly DoctorCheck[];
}

export interface DoctorCheck {
  /** What was looked at; published, never renamed. */
  check:
    | "secure_context"
    | "webcrypto"
    | "server"
    | "embed"
    | "origin"
    | "frame_policy"
    | "frame"
    | "clipboard"
    | "isolation";
  ok: boolean;
  /** What was found and, where it is wrong, the line to change. */
  message: string;
}

/** Throws a `CardError` with code `bad_option`, naming the option, if one is wrong. */
export type CardveilFactory = (options: CardveilOptions) => Veil;

/**
 * What `<cardveil-card>` dispatches: the events of a card, whose `detail` is what a handler would
 * get.
 */
export type CardveilElementEvents = { [E in keyof CardEvents]: CustomEvent<CardEvents[E]> };

/**
 * `<cardveil-card embed token>`. Optional attributes: `client-url`, `fields`, `masked`, which make
 * another card when they change, as `embed` and `token` do; `locale`, `hide-after`, `copy`,
 * `frame-title`, and of the appearance `theme`, `accent`, `radius`, `font` and `design`, which change the
 * card that is there. Lists are words with spaces; `masked` and `copy` alone, or `true`, mean all
 * fields, `false` none.
 *
 * Where there are elements `<cardveil-part name="pan">` (a `CardveilPart`) inside, those show the
 * card's parts, and the element nothing itself.
 */
export interface CardveilCardElement extends HTMLElement {
  /**
   * Instead of the attribute, when it is a function. Another function is called when the next token
   * is needed, and changes nothing before; `null` before it makes another card.
   */
  token: CardOptions["token"] | null;
  /** What it says comes before the attributes. */
  appearance: CardAppearance | null;
  labels: CardOptions["labels"] | null;
  timeouts: CardOptions["timeouts"] | null;
  reveal(): void;
  hide(): void;
  addEventListener<E extends keyof CardveilElementEvents>(
    type: E,
    listener: (this: CardveilCardElement, event: CardveilElementEvents[E]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener<E extends Exclude<keyof HTMLElementEventMap, keyof CardveilElementEvents>>(
    type: E,
    listener: (this: CardveilCardElement, event: HTMLElementEventMap[E]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<E extends keyof CardveilElementEvents>(
    type: E,
    listener: (this: CardveilCardElement, event: CardveilElementEvents[E]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | EventListenerOptions,
  ): void;
}

/**
 * `<cardveil-part name>`, with the optional attributes `transparent` and `frame-title`; read when
 * its card starts.
 */
export interface CardveilPartElement extends HTMLElement {
  /** Over the card's own. */
  appearance: CardAppearance | null;
}

declare global {
  interface Window {
    /** Set by the classic script. */
    Cardveil?: CardveilFactory;
  }
  interface HTMLElementTagNameMap {
    "cardveil-card": CardveilCardElement;
    "cardveil-part": CardveilPartElement;
  }
}
