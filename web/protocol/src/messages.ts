/**
 * The messages between a merchant's page (the SDK) and the frame, version 1.
 *
 * The frame says `hello` and the SDK answers `connect` by `window.postMessage`, each with the
 * other's exact origin. From then on everything travels over the MessagePort that came with
 * `connect`.
 *
 * **Invariant**: no message to the page can hold card data, nor the number of its digits.
 * **Invariant**: a parser never throws. What it does not understand it answers with `undefined`,
 * and the receiver drops it.
 *
 * To add a message: its variant in `ForFrame` or `ForPage`, its row in the table of for-frame.ts or
 * for-page.ts, and a row in the table of hostile messages in the tests. A change that an older side
 * would misread needs a new VERSION.
 */
export const VERSION = 1;

export const FIELDS = ["pan", "expiry", "cvv", "name"] as const;
export type Field = (typeof FIELDS)[number];

/** What a page can place by itself, each in a frame of its own: a field, or a button. */
export const PARTS = [
  ...FIELDS,
  "copy-pan",
  "copy-expiry",
  "copy-cvv",
  "copy-name",
  "toggle",
  "countdown",
] as const;
export type Part = (typeof PARTS)[number];

/**
 * What can go wrong, in the words that a merchant's code sees. Published; a code is never renamed.
 */
export const ERROR_CODES = [
  // from the server
  "token_refused",
  "field_unavailable",
  "origin_refused",
  "rate_limited",
  "unavailable",
  "invalid_request",
  "mfa_required",
  "factor_unavailable",
  // from the frame
  "offline",
  "timeout",
  "unsupported",
  "header_mismatch",
  "internal",
  // from the SDK
  "frame_timeout",
  "frame_blocked",
  "csp_blocked",
  "embed_unknown",
  "token_failed",
  "bad_option",
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** What went wrong without harm to the card. */
export const WARNING_CODES = [
  "copy_failed",
  "field_missing",
  "font_unavailable",
  "design_unavailable",
  "transparent_refused",
  "frame_covered",
] as const;
export type WarningCode = (typeof WARNING_CODES)[number];

/** Why a frame cannot be seen, as far as it knows itself. */
export const HINDRANCES = ["covered", "too_small", "not_rendered"] as const;
export type Hindrance = (typeof HINDRANCES)[number];

/** The words of the frame that a page may replace. Error sentences stay ours. */
export const LABELS = [
  "card",
  "number",
  "numberEnding",
  "expiry",
  "cvv",
  "name",
  "copyField",
  "copied",
  "copyFailed",
  "showField",
  "hideField",
  "showShort",
  "show",
  "hide",
  "retry",
  "retryIn",
  "hidesIn",
  "loading",
  "shown",
  "hidden",
  "hiddenByTime",
  "hiddenByLeaving",
  "fieldGone",
  "fieldAbsent",
  "covered",
  "reference",
] as const;
export type Label = (typeof LABELS)[number];

/**
 * How the frame looks: an allow-list, because a stylesheet from outside could leak what it styles.
 */
export interface Appearance {
  theme: "light" | "dark" | "auto";
  /** `#rrggbb`; the colour of the card's face. */
  accent?: string;
  /** Corner radius in CSS pixels, 0 to 32. */
  radius?: number;
  /** `system`, or the name of a font that the operator registered. */
  font?: string;
  /** The name of a design that the operator registered, for a card whose product has none. */
  design?: string;
  /** The programme's name, on the face. */
  label?: string;
  /** What stands outside the face, each `#rrggbb`. */
  colors?: Partial<Record<Color, string>>;
  /** How a part's text is set. */
  text?: TextStyle;
}

export type Color = "ink" | "inkSoft" | "line" | "control" | "panel";

export interface TextStyle {
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
}

export const HIDE_AFTER_SECS = { default: 60, min: 5, max: 300 } as const;

export interface Configuration {
  fields: Field[];
  appearance: Appearance;
  locale: string;
  hideAfter: number;
  copy: Field[];
  /** Fields that are not fetched before the cardholder asks for them. */
  masked: Field[];
  labels: Partial<Record<Label, string>>;
  /** Whether the page can fetch a new token, so whether "show again" can work after the window. */
  renewable: boolean;
  /**
   * Where the page places parts: the name by which their frames find this one, which shows nothing
   * itself.
   */
  group?: string;
}

/**
 * What a page may change of a card that is there: how it looks and speaks, and nothing of what it
 * holds.
 */
export type Changes = Partial<
  Pick<Configuration, "appearance" | "locale" | "labels" | "hideAfter" | "copy">
>;

/** What a frame that shows one part is told. */
export interface PartConfiguration {
  part: Part;
  group: string;
  appearance: Appearance;
  locale: string;
  labels: Partial<Record<Label, string>>;
  /** Whether the field has a switch of its own, which makes room for it from the first. */
  masked?: boolean;
  /** A button without looks, to lie over one that the page draws. */
  transparent: boolean;
}

/** What a frame stands on, which its page alone can see. */
export interface Ground {
  scheme: "light" | "dark";
  /**
   * Red, green and blue of sRGB; none where nobody can say: an image, a gradient, a page around the
   * page.
   */
  color?: [number, number, number];
}

/** What the page may tell the frame. */
export type ForFrame =
  | ({ type: "configure" } & Configuration)
  | ({ type: "part" } & PartConfiguration)
  /** At any time, also before all others; where the page says no theme. */
  | ({ type: "ground" } & Ground)
  | ({ type: "update" } & Changes)
  | { type: "token"; token: string }
  | { type: "noToken" }
  | { type: "reveal" }
  | { type: "hide" }
  | { type: "destroy" };

/** What the frame may tell the page. */
export type ForPage =
  | { type: "ready"; nonce: string; title: string }
  /** What the frame calls itself now, after an `update`. */
  | { type: "title"; title: string }
  | { type: "needToken" }
  | { type: "revealed"; fields: Field[] }
  | { type: "hidden" }
  | { type: "copied"; field: Field }
  | { type: "expired" }
  | { type: "warning"; code: WarningCode; message: string; field?: Field; cause?: Hindrance }
  | { type: "error"; code: ErrorCode; message: string; retryable: boolean; requestId?: string }
  /** In CSS pixels; `baseline` is that of the first line, from the top. */
  | { type: "size"; height: number; baseline?: number };

export const hello = () => ({ cardveil: VERSION, type: "hello" }) as const;
export const connect = (nonce: string) => ({ cardveil: VERSION, type: "connect", nonce }) as const;
