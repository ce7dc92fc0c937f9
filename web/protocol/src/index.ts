/**
 * The messages between a merchant's page (the SDK) and the frame, version 1.
 *
 * The frame says `hello` and the SDK answers `connect` by `window.postMessage`, each with the other's
 * exact origin. From then on everything travels over the MessagePort that came with `connect`.
 *
 * **Invariant**: no message to the page can hold card data, nor the number of its digits.
 * **Invariant**: a parser never throws. What it does not understand it answers with `undefined`, and
 * the receiver drops it.
 *
 * To add a message: its variant in `ForFrame` or `ForPage`, its case in the parser, and a row in the
 * table of hostile messages in the tests. A change that an older side would misread needs a new VERSION.
 */
export const VERSION = 1;

export const FIELDS = ["pan", "expiry", "cvv", "name"] as const;
export type Field = (typeof FIELDS)[number];

export const COPYABLE = ["pan", "cvv"] as const;
export type Copyable = (typeof COPYABLE)[number];

/** What can go wrong, in the words that a merchant's code sees. Published; a code is never renamed. */
export const ERROR_CODES = [
  // from the server
  "token_refused",
  "origin_refused",
  "rate_limited",
  "unavailable",
  "invalid_request",
  // from the frame
  "offline",
  "timeout",
  "unsupported",
  "header_mismatch",
  "copy_failed",
  "internal",
  // from the SDK
  "frame_timeout",
  "frame_blocked",
  "token_failed",
  "bad_option",
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** The words of the frame that a page may replace. Error sentences stay ours. */
export const LABELS = [
  "card",
  "number",
  "numberEnding",
  "expiry",
  "cvv",
  "name",
  "copyNumber",
  "copyCvv",
  "copied",
  "copyFailed",
  "showCvv",
  "showCvvShort",
  "show",
  "hide",
  "retry",
  "hidesIn",
  "loading",
  "shown",
  "hidden",
  "hiddenByTime",
  "hiddenByLeaving",
  "cvvGone",
  "reference",
] as const;
export type Label = (typeof LABELS)[number];

/** How the frame looks: an allow-list, because a stylesheet from outside could leak what it styles. */
export interface Appearance {
  theme: "light" | "dark" | "auto";
  /** `#rrggbb`; the colour of the card's face. */
  accent?: string;
  /** Corner radius in CSS pixels, 0 to 32. */
  radius?: number;
  font?: "system";
}

export const HIDE_AFTER_SECS = { default: 60, min: 5, max: 300 } as const;

export interface Configuration {
  fields: Field[];
  appearance: Appearance;
  locale: string;
  hideAfter: number;
  copy: Copyable[];
  labels: Partial<Record<Label, string>>;
  /** Whether the page can fetch a new token, so whether "show again" can work after the window. */
  renewable: boolean;
}

/** What the page may tell the frame. */
export type ForFrame =
  | ({ type: "configure" } & Configuration)
  | { type: "token"; token: string }
  | { type: "noToken"; code: "token_failed" | "token_refused" }
  | { type: "reveal" }
  | { type: "hide" }
  | { type: "destroy" };

/** What the frame may tell the page. */
export type ForPage =
  | { type: "ready"; nonce: string }
  | { type: "needToken" }
  | { type: "revealed"; fields: Field[] }
  | { type: "hidden" }
  | { type: "copied"; field: Copyable }
  | { type: "expired" }
  | { type: "error"; code: ErrorCode; message: string; retryable: boolean; requestId?: string }
  | { type: "height"; px: number };

export const hello = () => ({ cardveil: VERSION, type: "hello" }) as const;
export const connect = (nonce: string) => ({ cardveil: VERSION, type: "connect", nonce }) as const;

export const isHello = total((data) => isHandshake(data, "hello") || undefined);

export const parseConnect = total((data) =>
  isHandshake(data, "connect") ? { nonce: text(own(data, "nonce"), NONCE) } : undefined,
);

export const parseForFrame = total((data): ForFrame => {
  const type = own(data, "type");
  switch (type) {
    case "configure":
      return { type, ...parseConfiguration(data) };
    case "token":
      return { type, token: text(own(data, "token"), TOKEN) };
    case "noToken":
      return { type, code: oneOf(own(data, "code"), ["token_failed", "token_refused"]) };
    case "reveal":
    case "hide":
    case "destroy":
      return { type };
    default:
      return reject();
  }
});

export const parseForPage = total((data): ForPage => {
  const type = own(data, "type");
  switch (type) {
    case "ready":
      return { type, nonce: text(own(data, "nonce"), NONCE) };
    case "needToken":
    case "hidden":
    case "expired":
      return { type };
    case "revealed":
      return { type, fields: setOf(own(data, "fields"), FIELDS) };
    case "copied":
      return { type, field: oneOf(own(data, "field"), COPYABLE) };
    case "error": {
      const requestId = own(data, "requestId");
      return {
        type,
        code: oneOf(own(data, "code"), ERROR_CODES),
        message: text(own(data, "message"), SENTENCE),
        retryable: bool(own(data, "retryable")),
        ...(requestId === undefined ? {} : { requestId: text(requestId, REQUEST_ID) }),
      };
    }
    case "height":
      return { type, px: within(own(data, "px"), 1, 2000) };
    default:
      return reject();
  }
});

/** Whether a string can be a client token at all; whether it is one, only the server knows. */
export const isToken = (value: unknown): value is string =>
  typeof value === "string" && TOKEN.test(value);

export const REQUEST_ID = /^[\w.-]{1,64}$/;
const TOKEN = /^[\x21-\x7e]{1,256}$/;
const NONCE = /^[\w-]{16,64}$/;
const LOCALE = /^[A-Za-z0-9]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$/;
const COLOUR = /^#[0-9a-f]{6}$/i;
const SENTENCE = /^[^\p{Cc}]{1,300}$/u;

/** The SDK parses a caller's options by this too, to say at once which one is wrong. */
export function parseAppearance(data: unknown): Appearance {
  const [theme, accent, radius, font] = [
    own(data, "theme"),
    own(data, "accent"),
    own(data, "radius"),
    own(data, "font"),
  ];
  return {
    theme: theme === undefined ? "auto" : oneOf(theme, ["light", "dark", "auto"]),
    ...(accent === undefined ? {} : { accent: text(accent, COLOUR) }),
    ...(radius === undefined ? {} : { radius: within(radius, 0, 32) }),
    ...(font === undefined ? {} : { font: oneOf(font, ["system"]) }),
  };
}

export function parseFields(data: unknown): Field[] {
  const fields = setOf(data, FIELDS);
  return fields.length > 0 ? fields : reject();
}

export const parseLocale = (data: unknown): string => text(data, LOCALE);
export const parseHideAfter = (data: unknown): number =>
  within(data, HIDE_AFTER_SECS.min, HIDE_AFTER_SECS.max);
export const parseCopy = (data: unknown): Copyable[] => setOf(data, COPYABLE);

export function parseLabels(data: unknown): Partial<Record<Label, string>> {
  const labels: Partial<Record<Label, string>> = {};
  for (const label of LABELS) {
    const value = own(data, label);
    if (value !== undefined) labels[label] = text(value, SENTENCE);
  }
  return labels;
}

function parseConfiguration(data: unknown): Configuration {
  return {
    fields: parseFields(own(data, "fields")),
    appearance: parseAppearance(own(data, "appearance")),
    locale: parseLocale(own(data, "locale")),
    hideAfter: parseHideAfter(own(data, "hideAfter")),
    copy: parseCopy(own(data, "copy")),
    labels: parseLabels(own(data, "labels")),
    renewable: bool(own(data, "renewable")),
  };
}

function isHandshake(data: unknown, type: string): boolean {
  return own(data, "cardveil") === VERSION && own(data, "type") === type;
}

function total<T>(parse: (data: unknown) => T): (data: unknown) => T | undefined {
  return (data) => {
    try {
      return parse(data);
    } catch {
      return undefined;
    }
  };
}

function reject(): never {
  throw new TypeError("not a message of this protocol");
}

/** An own property, so that nothing is ever read from a polluted prototype. */
function own(data: unknown, key: string): unknown {
  if (typeof data !== "object" || data === null) return reject();
  return Object.hasOwn(data, key) ? (data as Record<string, unknown>)[key] : undefined;
}

function text(value: unknown, shape: RegExp): string {
  return typeof value === "string" && shape.test(value) ? value : reject();
}

function bool(value: unknown): boolean {
  return typeof value === "boolean" ? value : reject();
}

function within(value: unknown, min: number, max: number): number {
  return typeof value === "number" && value >= min && value <= max ? value : reject();
}

function oneOf<const T extends string>(value: unknown, all: readonly T[]): T {
  return all.find((known) => known === value) ?? reject();
}

/** A subset of `all`, without repeats, in the order of `all`. */
function setOf<const T extends string>(value: unknown, all: readonly T[]): T[] {
  if (!Array.isArray(value) || value.length > all.length) return reject();
  const wanted = new Set(value.map((item) => oneOf(item, all)));
  return all.filter((item) => wanted.has(item));
}
