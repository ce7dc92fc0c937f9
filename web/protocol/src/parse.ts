/**
 * How what came from outside is read: by a parser for each of its own members, so that nothing is
 * ever read from a polluted prototype.
 *
 * A parser answers with a value, or throws the path to what is wrong: `.text.fontSize`, or nothing
 * more than "" for a value without members.
 */
export type Parser<T = unknown> = (value: unknown) => T;
/** A parser for each member; a shape of its own is a member that may have some of that. */
export type Shape = { readonly [member: string]: Parser | Shape };
export type Parsed<S> = {
  [K in keyof S]: S[K] extends Parser<infer T> ? T : Partial<Parsed<S[K]>>;
};
/** Hears of a member that a shape has not, and which it has. */
export type Strange = (member: string, known: string[]) => void;

export function reject(): never {
  throw "";
}

/**
 * The members of an object, each read once: those that are there, or all of them (`whole`), where
 * the parser of one that is not there is asked what to make of that.
 */
export function members<S extends Shape>(
  data: unknown,
  shape: S,
  whole: true,
  strange?: Strange,
): Parsed<S>;
export function members<S extends Shape>(
  data: unknown,
  shape: S,
  whole?: false,
  strange?: Strange,
): Partial<Parsed<S>>;
export function members(data: unknown, shape: Shape, whole?: boolean, strange?: Strange): object {
  if (typeof data !== "object" || data === null) return reject();
  const parsed: Record<string, unknown> = bare({});
  for (const [name, member] of Object.entries(shape)) {
    try {
      const value = Object.hasOwn(data, name) ? Reflect.get(data, name) : undefined;
      if (!whole && value === undefined) continue;
      parsed[name] =
        typeof member === "function"
          ? member(value)
          : members(value, member, false, (inner, known) => strange?.(`${name}.${inner}`, known));
    } catch (path) {
      throw `.${name}${typeof path === "string" ? path : ""}`;
    }
  }
  for (const name of Object.keys(data))
    if (!Object.hasOwn(shape, name)) strange?.(name, Object.keys(shape));
  return parsed;
}

/** The same members on an object that inherits nothing. */
export const bare = <T extends object>(given: T): T => Object.assign(Object.create(null), given);

/** Those of some members that are an object's own, each read once; none of what is no object. */
export function ownOf<T, const K extends keyof T & string>(
  data: T,
  ...keys: readonly K[]
): Pick<T, K> {
  const own: Pick<T, K> = Object.create(null);
  if (typeof data !== "object" || data === null) return own;
  for (const key of keys) if (Object.hasOwn(data, key)) own[key] = data[key];
  return own;
}

export const text =
  <T extends string>(form: RegExp): Parser<T> =>
  (value) =>
    typeof value === "string" && form.test(value) ? (value as T) : reject();

export const bool: Parser<boolean> = (value) => (typeof value === "boolean" ? value : reject());

export const within =
  (min: number, max: number): Parser<number> =>
  (value) =>
    typeof value === "number" && value >= min && value <= max ? value : reject();

export const oneOf =
  <const T>(...all: readonly T[]): Parser<T> =>
  (value) =>
    all.find((known) => known === value) ?? reject();

/** A subset of `all`, without repeats, in the order of `all`. */
export const setOf =
  <const T>(all: readonly T[]): Parser<T[]> =>
  (value) => {
    if (!Array.isArray(value) || value.length > all.length) return reject();
    const wanted = value.map(oneOf(...all));
    return all.filter((item) => wanted.includes(item));
  };

/** Whichever of these messages something is. */
export const messages =
  <M extends { type: string }>(rows: Messages<M>): ((data: unknown) => M | undefined) =>
  (data) => {
    try {
      const { type } = members(data, { type: oneOf(...(Object.keys(rows) as M["type"][])) }, true);
      const [needed, more = {}] = rows[type];
      return Object.assign(members(data, needed, true), { type }, members(data, more)) as M;
    } catch {
      return undefined;
    }
  };

/** What each message must have, and what it may. */
type Messages<M extends { type: string }> = {
  [T in M["type"]]: Row<Omit<Extract<M, { type: T }>, "type">>;
};
type Row<M> = readonly [
  needed: { readonly [K in Exclude<keyof M, Optional<M>>]: Parser<M[K]> },
  more?: { readonly [K in Optional<M>]: Parser<M[K]> },
];
type Optional<M> = { [K in keyof M]-?: object extends Pick<M, K> ? K : never }[keyof M];
