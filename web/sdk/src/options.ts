/**
 * What callers say, checked where the mistake is, and not later in a frame.
 *
 * To add an option: its parser here, in the table of what it is an option of, and in `EXPECTED` what
 * it must be.
 */
import {
  type Appearance,
  type Configuration,
  FIELDS,
  HIDE_AFTER_SECS,
  LOOKS,
  members,
  ownOf,
  type Parser,
  parseFields,
  parseHideAfter,
  parseLocale,
  parsePart as parsePartName,
  parseSome,
  parseTexts,
  type Part,
  PARTS,
  sentence,
  type Shape,
  type Strange,
  text,
  within,
} from "@cardveil/protocol";
import type { CardChanges, CardOptions, CardveilOptions, PartOptions } from "./api.ts";
import { native } from "./document.ts";
import { badOption, warnOnce } from "./error.ts";
import { loadDoctor } from "./load-doctor.ts";

/** All that a card is told, what its page calls its frame, and how long it waits. */
export type Settings = Configuration & {
  title: string | undefined;
  timeouts: { frame: number; token: number };
};

const SOME = `some of ${FIELDS.join(", ")}`;
const EXPECTED: Record<string, string> = {
  embed: "such as emb_...",
  clientUrl: "such as https://cards.example.com",
  token: "a string or a function",
  fields: SOME,
  masked: `a boolean, or ${SOME}`,
  copy: `a boolean, or ${SOME}`,
  appearance: "as CardAppearance has it",
  locale: "such as en or de-CH",
  hideAfter: `seconds from ${HIDE_AFTER_SECS.min} to ${HIDE_AFTER_SECS.max}`,
  labels: "short texts",
  title: "a short text",
  timeouts: "seconds from 5 to 120",
  part: `one of ${PARTS.join(", ")}`,
};

/** Names that there are not may be of another version, which is no reason to show no card. */
const strange =
  (path: string): Strange =>
  (name, known) =>
    warnOnce(`there is no option "${path}${name}"; there are ${known.join(", ")}`);

function checked<S extends Shape>(given: unknown, shape: S) {
  try {
    return members(Object(given), shape, true, strange(""));
  } catch (path) {
    const option = String(path).slice(1);
    throw badOption(`the option "${option}" must be ${EXPECTED[option.split(".")[0] as string]}`);
  }
}

const or =
  <T>(otherwise: unknown, parse: Parser<T>): Parser<T> =>
  (value) =>
    parse(value ?? otherwise);
const some: Parser<Configuration["copy"]> = (value) =>
  parseSome(typeof value === "boolean" ? FIELDS.filter(() => value) : value);
const title: Parser<string | undefined> = (value) =>
  value === undefined ? value : sentence(value);
const looks = (value: unknown) => members(value ?? {}, LOOKS, false, strange("appearance."));
const secs = /* @__PURE__ */ within(5, 120);

/** What a card may become. */
const LIVE = {
  appearance: (value: unknown): Appearance => ({ theme: "auto", ...looks(value) }),
  locale: (value: unknown) => parseLocale(value ?? pageLocale()),
  hideAfter: /* @__PURE__ */ or(HIDE_AFTER_SECS.default, parseHideAfter),
  copy: /* @__PURE__ */ or(["pan"], some),
  labels: /* @__PURE__ */ or({}, parseTexts),
  title,
  timeouts: (value: unknown) =>
    members(value ?? {}, { frame: or(20, secs), token: or(30, secs) }, true, strange("timeouts.")),
};

const CARD = {
  token: (value: unknown) =>
    typeof value === "function" ? (value as CardOptions["token"]) : text(/./)(value),
  fields: /* @__PURE__ */ or(FIELDS, parseFields),
  masked: /* @__PURE__ */ or(["cvv"], some),
  ...LIVE,
};

export function parseOptions(given: CardOptions): Settings & Pick<CardOptions, "token"> {
  const options = checked(given, CARD);
  return { ...options, renewable: typeof options.token === "function" };
}

/** All of it is checked before any of it counts. What is there and undefined is as if never said. */
export function parseChanges(given: CardChanges): Partial<Settings> {
  if (typeof given !== "object" || given === null)
    throw badOption("update takes an object of options");
  const names = Object.keys(given) as (keyof CardChanges)[];
  for (const name of names)
    if (!Object.hasOwn(LIVE, name))
      throw badOption(`"${name}" cannot be changed; make another card`);
  return checked(given, ownOf(LIVE, ...names)) as Partial<Settings>;
}

/**
 * What a part is, and how it looks: like its card, whatever that becomes, but for what it says
 * itself.
 */
export function parsePart(name: Part, options: PartOptions) {
  const { appearance, transparent, ...rest } = checked(options, {
    appearance: looks,
    transparent: (value) => value === true,
    title,
  });
  return {
    ...checked({ part: name }, { part: parsePartName }),
    ...rest,
    looks: (card: Appearance): Appearance => ({ ...card, ...appearance }),
    transparent,
  };
}

/** Where the frame lives, and who finds out what is wrong there. */
export interface Place {
  origin: string;
  embed: string;
  frameUrl: string;
  doctor(): Promise<typeof import("./doctor.ts")>;
}

/**
 * `scriptUrl` is where the SDK came from. If that was Cardveil, by its path, tokens go to no other
 * origin, whatever `clientUrl` says; unless it was the page's own origin, which may keep a copy
 * there.
 */
export function parsePlace(options: CardveilOptions, scriptUrl: string | undefined): Place {
  const script = scriptUrl === undefined ? undefined : new URL(scriptUrl);
  const served = /^\/sdk\/[\w.]+\/[a-z.]+\.js$/.test(script?.pathname ?? "") ? script : undefined;
  const { embed, clientUrl } = checked(options, {
    embed: text<string>(/^emb_\w{1,64}$/),
    clientUrl: (value) => {
      if (value === undefined && served !== undefined) return served.origin;
      const { origin, pathname } = new URL(text<string>(/^https?:/)(value));
      return text<string>(/^\/$/)(pathname) && origin;
    },
  });
  const origin = served && served.origin !== location.origin ? served.origin : clientUrl;
  if (origin !== clientUrl)
    console.warn(`Cardveil: clientUrl is left out: the SDK came from ${origin}`);
  return {
    origin,
    embed,
    frameUrl: `${origin}/embed/${embed}`,
    // Of the version that the page has, where it has one from there.
    doctor: () => loadDoctor(origin, served ?? `${origin}/sdk/v1/`),
  };
}

export const pageLocale = (): string =>
  (typeof document === "object" && native("documentElement").lang) || "en";

export function elementOf(target: string | Element): Element {
  const element = typeof target === "string" ? native("querySelector")(target) : target;
  if (element instanceof Element) return element;
  throw badOption(`there is no element ${target}`);
}
