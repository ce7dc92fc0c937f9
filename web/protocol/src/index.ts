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
 * To add a message: its variant in `ForFrame` or `ForPage`, its case in the parser, and a row in
 * the table of hostile messages in the tests. A change that an older side would misread needs a new
 * VERSION.
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
  /** The programme's name, on the face. */
  label?: string;
  /** What stands outside the face, each `#rrggbb`. */
  colors?: Partial<Record<Color, string>>;
  /** How a part's text is set. */
  text?: TextStyle;
}

export const COLORS = ["ink", "inkSoft", "line", "control", "panel"] as const;
export type Color = (typeof COLORS)[number];

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

export const isHello = /* @__PURE__ */ total((data) => isHandshake(data, "hello") || undefined);

export const parseConnect = /* @__PURE__ */ total((data) =>
  isHandshake(data, "connect") ? { nonce: text(own(data, "nonce"), NONCE) } : undefined,
);

export const parseForFrame = /* @__PURE__ */ total((data): ForFrame => {
  const type = own(data, "type");
  switch (type) {
    case "configure":
      return { type, ...parseConfiguration(data) };
    case "part":
      return { type, ...parsePartConfiguration(data) };
    case "ground":
      return {
        type,
        scheme: oneOf(own(data, "scheme"), SCHEMES),
        ...pick(data, ["color"], parseRgb),
      };
    case "update":
      return { type, ...parseChanges(data) };
    case "token":
      return { type, token: tokenOf(own(data, "token")) ?? reject() };
    case "noToken":
    case "reveal":
    case "hide":
    case "destroy":
      return { type };
    default:
      return reject();
  }
});

export const parseForPage = /* @__PURE__ */ total((data): ForPage => {
  const type = own(data, "type");
  switch (type) {
    case "ready":
      return {
        type,
        nonce: text(own(data, "nonce"), NONCE),
        title: text(own(data, "title"), SENTENCE),
      };
    case "title":
      return { type, title: text(own(data, "title"), SENTENCE) };
    case "needToken":
    case "hidden":
    case "expired":
      return { type };
    case "revealed":
      return { type, fields: setOf(own(data, "fields"), FIELDS) };
    case "copied":
      return { type, field: oneOf(own(data, "field"), FIELDS) };
    case "warning":
      return {
        type,
        code: oneOf(own(data, "code"), WARNING_CODES),
        message: text(own(data, "message"), SENTENCE),
        ...pick(data, ["field"], (value) => oneOf(value, FIELDS)),
        ...pick(data, ["cause"], (value) => oneOf(value, HINDRANCES)),
      };
    case "error": {
      return {
        type,
        code: text(own(data, "code"), CODE) as ErrorCode,
        message: text(own(data, "message"), SENTENCE),
        retryable: bool(own(data, "retryable")),
        ...pick(data, ["requestId"], (value) => text(value, REQUEST_ID)),
      };
    }
    case "size": {
      const height = within(own(data, "height"), 1, 2000);
      return { type, height, ...pick(data, ["baseline"], (value) => within(value, 0, 2000)) };
    }
    default:
      return reject();
  }
});

/**
 * What can be a client token at all, without the white space that templates and files leave around
 * it; whether it is one, only the server knows.
 */
export function tokenOf(value: unknown): string | undefined {
  const token = typeof value === "string" ? value.trim() : "";
  return TOKEN.test(token) ? token : undefined;
}

export const REQUEST_ID = /^[\w.-]{1,64}$/;
const TOKEN = /^cvt_\w{1,252}$/;
const NONCE = /^[\w-]{16,64}$/;
const LOCALE = /^[A-Za-z0-9]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$/;
/** By form: a page may be older than the frame, and what it does not know it passes on. */
const CODE = /^[a-z]+(_[a-z]+){0,3}$/;
const SCHEMES = ["light", "dark"] as const;
const COLOUR = /^#[0-9a-f]{6}$/i;
const FONT = /^[a-z\d][a-z\d-]{0,31}$/;
const NAME = /^[^\p{Cc}]{1,24}$/u;
const SENTENCE = /^[^\p{Cc}]{1,300}$/u;

/** The SDK parses a caller's options by this too, to say at once which one is wrong. */
export const parseAppearance = (data: unknown): Appearance => ({
  theme: "auto",
  ...pickBy(data, LOOKS),
});

const bounded = (min: number, max: number) => (value: unknown) => within(value, min, max);
const colour = (value: unknown) => text(value, COLOUR);

/** How each member of a text's style is parsed. */
export const TEXTS = {
  color: colour,
  fontSize: /* @__PURE__ */ bounded(8, 48),
  fontWeight: /* @__PURE__ */ bounded(100, 900),
  letterSpacing: /* @__PURE__ */ bounded(-0.05, 0.5),
  lineHeight: /* @__PURE__ */ bounded(1, 3),
  textAlign: (value: unknown) => oneOf(value, ["start", "center", "end"]),
};

/** How each member of an appearance is parsed. */
export const LOOKS = {
  theme: (value: unknown) => oneOf(value, [...SCHEMES, "auto"]),
  accent: colour,
  radius: /* @__PURE__ */ bounded(0, 32),
  font: (value: unknown) => text(value, FONT),
  label: (value: unknown) => text(value, NAME),
  colors: (colors: unknown) => pick(colors, COLORS, colour),
  text: (style: unknown) => pickBy(style, TEXTS),
};

/** Those members that are there, each parsed in its way. */
function pickBy<P extends Record<string, (value: unknown) => unknown>>(
  data: unknown,
  parsers: P,
): { [K in keyof P]?: ReturnType<P[K]> } {
  return pick(data, Object.keys(parsers), (value, name) => parsers[name]?.(value)) as {
    [K in keyof P]?: ReturnType<P[K]>;
  };
}

/** Each from 0 to 1; a little beyond is of a wider gamut. */
function parseRgb(data: unknown): [number, number, number] {
  if (!Array.isArray(data) || data.length !== 3) return reject();
  return data.map((value) => Math.min(Math.max(within(value, -1, 2), 0), 1)) as [
    number,
    number,
    number,
  ];
}

/** Those of some members that are there, each parsed. */
function pick<const K extends string, T>(
  data: unknown,
  keys: readonly K[],
  parse: (value: unknown, key: K) => T,
): { [P in K]?: T } {
  const picked: { [P in K]?: T } = {};
  for (const key of keys) {
    const value = own(data, key);
    if (value !== undefined) picked[key] = parse(value, key);
  }
  return picked;
}

export function parseFields(data: unknown): Field[] {
  const fields = parseSome(data);
  return fields.length > 0 ? fields : reject();
}

export const parseLocale = (data: unknown): string => text(data, LOCALE);
export const parseHideAfter = (data: unknown): number =>
  within(data, HIDE_AFTER_SECS.min, HIDE_AFTER_SECS.max);
/** Some of the fields, maybe none. */
export const parseSome = (data: unknown): Field[] => setOf(data, FIELDS);
export const parsePart = (data: unknown): Part => oneOf(data, PARTS);

export function parseLabels(data: unknown): Partial<Record<Label, string>> {
  return pick(data, LABELS, sentence);
}

/** A caller's labels: which of them the frame knows is the frame's affair. */
export function parseTexts(data: unknown): Partial<Record<Label, string>> {
  if (typeof data !== "object" || data === null) return reject();
  return bare(
    Object.fromEntries(Object.entries(data).map(([label, value]) => [label, sentence(value)])),
  );
}

export const sentence = (value: unknown): string => text(value, SENTENCE);

function parseChanges(data: unknown): Changes {
  return {
    ...pick(data, ["appearance"], parseAppearance),
    ...pick(data, ["locale"], parseLocale),
    ...pick(data, ["labels"], parseLabels),
    ...pick(data, ["hideAfter"], parseHideAfter),
    ...pick(data, ["copy"], parseSome),
  };
}

function parseConfiguration(data: unknown): Configuration {
  return {
    fields: parseFields(own(data, "fields")),
    appearance: parseAppearance(own(data, "appearance")),
    locale: parseLocale(own(data, "locale")),
    hideAfter: parseHideAfter(own(data, "hideAfter")),
    copy: parseSome(own(data, "copy")),
    masked: parseSome(own(data, "masked")),
    labels: parseLabels(own(data, "labels")),
    renewable: bool(own(data, "renewable")),
    ...pick(data, ["group"], (value) => text(value, NONCE)),
  };
}

function parsePartConfiguration(data: unknown): PartConfiguration {
  return {
    part: parsePart(own(data, "part")),
    group: text(own(data, "group"), NONCE),
    appearance: parseAppearance(own(data, "appearance")),
    locale: parseLocale(own(data, "locale")),
    labels: parseLabels(own(data, "labels")),
    ...pick(data, ["masked"], bool),
    transparent: bool(own(data, "transparent")),
  };
}

function isHandshake(data: unknown, type: string): boolean {
  return own(data, "cardveil") === VERSION && own(data, "type") === type;
}

function total<T>(parse: (data: unknown) => T): (data: unknown) => T | undefined {
  return (data) => {
    try {
      const parsed = parse(data);
      return typeof parsed === "object" && parsed !== null ? bare(parsed) : parsed;
    } catch {
      return undefined;
    }
  };
}

function reject(): never {
  throw new TypeError(); // nobody reads it
}

/** An own property, so that nothing is ever read from a polluted prototype. */
function own(data: unknown, key: string): unknown {
  if (typeof data !== "object" || data === null) return reject();
  return Object.hasOwn(data, key) ? (data as Record<string, unknown>)[key] : undefined;
}

/**
 * The same members on an object that inherits nothing: what is not in it is not found on
 * `Object.prototype`.
 */
export const bare = <T extends object>(members: T): T =>
  Object.assign(Object.create(null), members);

/** Those of some members that are an object's own, each read once; none of what is no object. */
export function ownOf<T, const K extends keyof T & string>(
  data: T,
  ...keys: readonly K[]
): Pick<T, K> {
  const members: Pick<T, K> = Object.create(null);
  if (typeof data !== "object" || data === null) return members;
  for (const key of keys) if (Object.hasOwn(data, key)) members[key] = data[key];
  return members;
}

export function text(value: unknown, shape: RegExp): string {
  return typeof value === "string" && shape.test(value) ? value : reject();
}

function bool(value: unknown): boolean {
  return typeof value === "boolean" ? value : reject();
}

export function within(value: unknown, min: number, max: number): number {
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
