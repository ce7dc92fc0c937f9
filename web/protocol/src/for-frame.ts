/** What the frame may hear from the page. */
import {
  type Appearance,
  type connect,
  type ForFrame,
  type Label,
  LABELS,
  VERSION,
} from "./messages.ts";
import { bool, members, messages, oneOf, type Parser, reject, text, within } from "./parse.ts";
import {
  LOOKS,
  NONCE,
  parseFields,
  parseHideAfter,
  parseLocale,
  parsePart,
  parseSome,
  sentence,
  tokenOf,
} from "./values.ts";

export const parseConnect = /* @__PURE__ */ messages<ReturnType<typeof connect>>({
  connect: [{ cardveil: oneOf(VERSION), nonce: text(NONCE) }],
});

const appearance = (data: unknown): Appearance => ({ theme: "auto", ...members(data, LOOKS) });
const LABEL_SHAPE = Object.fromEntries(LABELS.map((label) => [label, sentence]));
const labels: Parser<Partial<Record<Label, string>>> = (data) => members(data, LABEL_SHAPE);
const looks = { appearance, locale: parseLocale, labels };
const group = text(NONCE);

/** Each from 0 to 1; a little beyond is of a wider gamut. */
function rgb(data: unknown): [number, number, number] {
  if (!Array.isArray(data) || data.length !== 3) return reject();
  const wider = within(-1, 2);
  return data.map((value) => Math.min(Math.max(wider(value), 0), 1)) as [number, number, number];
}

export const parseForFrame = /* @__PURE__ */ messages<ForFrame>({
  configure: [
    {
      ...looks,
      fields: parseFields,
      hideAfter: parseHideAfter,
      copy: parseSome,
      masked: parseSome,
      renewable: bool,
    },
    { group },
  ],
  part: [{ ...looks, part: parsePart, group, transparent: bool }, { masked: bool }],
  ground: [{ scheme: oneOf("light", "dark") }, { color: rgb }],
  update: [{}, { ...looks, hideAfter: parseHideAfter, copy: parseSome }],
  token: [{ token: (token) => tokenOf(token) ?? reject() }],
  noToken: [{}],
  reveal: [{}],
  hide: [{}],
  destroy: [{}],
});
