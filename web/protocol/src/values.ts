/**
 * What messages are made of. The SDK parses a caller's options by these too, to say at once which
 * one is wrong.
 */
import { type Field, FIELDS, HIDE_AFTER_SECS, type Label, type Part, PARTS } from "./messages.ts";
import { members, oneOf, type Parser, reject, setOf, text, within } from "./parse.ts";

export const REQUEST_ID = /^[\w.-]{1,64}$/;
export const NONCE = /^[\w-]{16,64}$/;
const TOKEN = /^cvt_\w{1,252}$/;

/**
 * What can be a client token at all, without the white space that templates and files leave around
 * it; whether it is one, only the server knows.
 */
export function tokenOf(value: unknown): string | undefined {
  const token = typeof value === "string" ? value.trim() : "";
  return TOKEN.test(token) ? token : undefined;
}

export const parseField: Parser<Field> = /* @__PURE__ */ oneOf(...FIELDS);
/** Some of the fields, maybe none. */
export const parseSome: Parser<Field[]> = /* @__PURE__ */ setOf(FIELDS);
export const parseFields: Parser<Field[]> = (data) => {
  const fields = parseSome(data);
  return fields.length > 0 ? fields : reject();
};
export const parsePart: Parser<Part> = /* @__PURE__ */ oneOf(...PARTS);
export const parseLocale: Parser<string> = /* @__PURE__ */ text(
  /^[A-Za-z0-9]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$/,
);
export const parseHideAfter: Parser<number> = /* @__PURE__ */ within(
  HIDE_AFTER_SECS.min,
  HIDE_AFTER_SECS.max,
);
export const sentence: Parser<string> = /* @__PURE__ */ text(/^[^\p{Cc}]{1,300}$/u);

/** A caller's labels: which of them the frame knows is the frame's affair. */
export const parseTexts: Parser<Partial<Record<Label, string>>> = (data) =>
  members(
    data,
    Object.fromEntries(Object.keys(Object(data)).map((label) => [label, sentence])),
    true,
  );

const colour: Parser<string> = /* @__PURE__ */ text(/^#[0-9a-f]{6}$/i);

/** The name of what the operator registered. */
const registered: Parser<string> = /* @__PURE__ */ text(/^[a-z\d][a-z\d-]{0,31}$/);

/** How each member of an appearance is parsed. */
export const LOOKS = {
  theme: /* @__PURE__ */ oneOf("light", "dark", "auto"),
  accent: colour,
  radius: /* @__PURE__ */ within(0, 32),
  font: registered,
  design: registered,
  /** Characters that are written, and not those that control. */
  label: /* @__PURE__ */ text<string>(/^[^\p{Cc}]{1,24}$/u),
  colors: { ink: colour, inkSoft: colour, line: colour, control: colour, panel: colour },
  text: {
    color: colour,
    fontSize: /* @__PURE__ */ within(8, 48),
    fontWeight: /* @__PURE__ */ within(100, 900),
    letterSpacing: /* @__PURE__ */ within(-0.05, 0.5),
    lineHeight: /* @__PURE__ */ within(1, 3),
    textAlign: /* @__PURE__ */ oneOf("start", "center", "end"),
  },
} as const;
