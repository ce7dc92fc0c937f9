import {
  type Appearance,
  COLORS,
  type Configuration,
  FIELDS,
  HIDE_AFTER_SECS,
  LOOKS,
  ownOf,
  parseAppearance,
  parseFields,
  parseHideAfter,
  parseLocale,
  parsePart as parsePartName,
  parseSome,
  parseTexts,
  type Part,
  PARTS,
  sentence,
  text,
  TEXTS,
  within,
} from "@cardveil/protocol";
import type {
  CardAppearance,
  CardChanges,
  CardOptions,
  CardveilOptions,
  PartOptions,
} from "./api.ts";
import { native } from "./document.ts";
import { badOption, CardveilError, policyLine, warnOnce } from "./error.ts";

export interface Place {
  origin: string;
  embed: string;
  frameUrl: string;
  /** Loaded when something is wrong, so that no page carries it. */
  doctor(): Promise<typeof import("./doctor.ts")>;
}

/**
 * Where the frame lives. `scriptUrl` is where the SDK came from. If that was Cardveil, by its path,
 * tokens go to no other origin, whatever `clientUrl` says; unless it was the page's own origin,
 * which may keep a copy there.
 */
export function parsePlace(options: CardveilOptions, scriptUrl: string | undefined): Place {
  const { embed: id, clientUrl } = known("", options, ["embed", "clientUrl"]);
  const embed = check("embed", "such as emb_...", () => text(id, /^emb_\w{1,64}$/));
  const script = scriptUrl === undefined ? undefined : new URL(scriptUrl);
  const served =
    script !== undefined && /^\/sdk\/[\w.]+\/[a-z.]+\.js$/.test(script.pathname)
      ? script
      : undefined;
  const named =
    clientUrl === undefined && served !== undefined
      ? served.origin
      : check("clientUrl", "such as https://cards.example.com", () => {
          const url = new URL(text(clientUrl, /^https?:/));
          if (url.pathname !== "/") throw new TypeError();
          return url.origin;
        });
  const origin = served !== undefined && served.origin !== location.origin ? served.origin : named;
  if (origin !== named)
    console.warn(`Cardveil: clientUrl is left out: the SDK came from ${origin}`);
  return {
    origin,
    embed,
    frameUrl: `${origin}/embed/${embed}`,
    // Of the version that the page has, where it has one from there.
    doctor: () => {
      const { href } = new URL("doctor.js", served ?? `${origin}/sdk/v1/`);
      return import(/* @vite-ignore */ /* webpackIgnore: true */ href).catch(() => {
        throw new CardveilError("csp_blocked", policyLine(`script-src ${origin}`));
      });
    },
  };
}

/** What a caller says of a card. */
export const cardOptions = (given: CardOptions): CardOptions =>
  known("", given, ["token", "fields", "masked", ...LIVE]);

/** An object's own members; of names that there are not it tells, and goes on without them. */
function known<T, const K extends keyof T & string>(
  path: string,
  given: T,
  names: readonly K[],
): Pick<T, K> {
  tellStrange(path, given, names);
  return ownOf(given, ...names);
}

/** They may be of another version, which is no reason to show no card. */
function tellStrange(path: string, given: unknown, names: readonly string[]): void {
  for (const name of Object.keys(Object(given)))
    if (!names.includes(name))
      warnOnce(`there is no option "${path}${name}"; there are ${names.join(", ")}`);
}

/** All that a card is told, what its page calls its frame, and how long it waits. */
export type Settings = Configuration & {
  title: string | undefined;
  timeouts: { frame: number; token: number };
};

/** Checks every option now, where the mistake is, and not later in a frame. */
export function parseOptions(given: CardOptions): Settings {
  const options = cardOptions(given);
  const { token, fields, masked } = options;
  check("token", "a string or a function", () => {
    if (typeof token !== "function") text(token, /./);
  });
  return {
    renewable: typeof token === "function",
    fields: check("fields", `some of ${FIELDS.join(", ")}`, () => parseFields(fields ?? FIELDS)),
    masked: some("masked", masked ?? ["cvv"]),
    ...parseLive(options, LIVE),
  };
}

/**
 * What a card may become: all of it checked before any of it counts. What is there and undefined is
 * as if never said.
 */
export function parseChanges(given: CardChanges): Partial<Settings> {
  if (typeof given !== "object" || given === null)
    throw badOption("update takes an object of options");
  const names = Object.keys(given) as (keyof CardChanges)[];
  for (const name of names)
    if (!LIVE.includes(name)) throw badOption(`"${name}" cannot be changed; make another card`);
  return parseLive(ownOf(given, ...names), names);
}

const LIVE = [
  "appearance",
  "locale",
  "hideAfter",
  "copy",
  "labels",
  "title",
  "timeouts",
] as const satisfies (keyof CardChanges)[];
type Live = Pick<Settings, (typeof LIVE)[number]>;

function parseLive<K extends keyof Live>(
  { appearance, locale, hideAfter, copy, labels, title, timeouts }: CardChanges,
  names: readonly K[],
): Pick<Live, K> {
  const parsers: { [P in keyof Live]: () => Live[P] } = {
    appearance: () => checkAppearance(appearance),
    locale: () => check("locale", "such as en or de-CH", () => parseLocale(locale ?? pageLocale())),
    hideAfter: () =>
      check("hideAfter", `seconds from ${HIDE_AFTER_SECS.min} to ${HIDE_AFTER_SECS.max}`, () =>
        parseHideAfter(hideAfter ?? HIDE_AFTER_SECS.default),
      ),
    copy: () => some("copy", copy ?? ["pan"]),
    labels: () => check("labels", "short texts", () => parseTexts(labels ?? {})),
    title: () => checkTitle(title),
    timeouts: () => {
      const given = known("timeouts.", timeouts ?? {}, ["frame", "token"]);
      const secs = (value: number) =>
        check("timeouts", "frame and token, seconds from 5 to 120", () => within(value, 5, 120));
      return { frame: secs(given.frame ?? 20), token: secs(given.token ?? 30) };
    },
  };
  return Object.fromEntries(names.map((name) => [name, parsers[name]()])) as Pick<Live, K>;
}

export const pageLocale = (): string =>
  (typeof document === "object" && native("documentElement").lang) || "en";

export function elementOf(target: string | Element): Element {
  const element = typeof target === "string" ? native("querySelector")(target) : target;
  if (element instanceof Element) return element;
  throw badOption(`there is no element ${target}`);
}

/**
 * What a part is, and how it looks: like its card, whatever that becomes, but for what it says
 * itself.
 */
export function parsePart(name: Part, options: PartOptions) {
  const { appearance, transparent, title } = known("", options, [
    "appearance",
    "transparent",
    "title",
  ]);
  const said = { ...appearance };
  const { theme, ...rest } = checkAppearance(said);
  const own = Object.hasOwn(said, "theme") ? { theme, ...rest } : rest;
  return {
    part: check("part", `one of ${PARTS.join(", ")}`, () => parsePartName(name)),
    looks: (card: Appearance): Appearance => ({ ...card, ...own }),
    transparent: transparent === true,
    title: checkTitle(title),
  };
}

function some(option: string, value: boolean | readonly string[]) {
  return check(option, `a boolean, or some of ${FIELDS.join(", ")}`, () =>
    parseSome(typeof value === "boolean" ? FIELDS.filter(() => value) : value),
  );
}

function checkAppearance(given: CardAppearance | undefined): Appearance {
  const looks = typeof given === "object" ? ownOf(given, ...keysOf(LOOKS)) : (given ?? {});
  try {
    const parsed = parseAppearance(looks);
    const { colors, text } = looks;
    tellStrange("appearance.", given, keysOf(LOOKS));
    tellStrange("appearance.colors.", colors, COLORS);
    tellStrange("appearance.text.", text, keysOf(TEXTS));
    return parsed;
  } catch {
    throw wrong(`appearance${wrongIn(looks, parseAppearance)}`, "as CardAppearance has it");
  }
}

const keysOf = <T extends object>(table: T) => Object.keys(table) as (keyof T & string)[];

/** The first member that is not as it must be, and the first one of that. */
function wrongIn(value: object, parse: (value: object) => unknown): string {
  for (const [name, member] of Object.entries(Object(value))) {
    const alone = (member: unknown) => parse({ [name]: member });
    try {
      alone(member);
    } catch {
      return `.${name}${typeof member === "object" ? wrongIn(member as object, alone) : ""}`;
    }
  }
  return "";
}

function checkTitle(value: unknown): string | undefined {
  return value === undefined ? undefined : check("title", "a short text", () => sentence(value));
}

function check<T>(option: string, expected: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw wrong(option, expected);
  }
}

const wrong = (option: string, expected: string) =>
  badOption(`the option "${option}" must be ${expected}`);
