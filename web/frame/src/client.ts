import { type Field, FIELDS, REQUEST_ID } from "@cardveil/protocol";
import { Failure } from "./failure.ts";
import type { KeepKey, PublicJwk } from "./holder-key.ts";

/** What this module needs of the world, so that tests decide what the network and the clock do. */
export interface World {
  fetch(path: string, init: RequestInit): Promise<Response>;
  now(): number;
  wait(ms: number): Promise<void>;
  uuid(): string;
  online(): boolean;
  keepKey: KeepKey;
}

export interface RedeemRequest {
  token: string;
  embed: string;
  key: PublicJwk;
  fields: readonly Field[];
  factor: FactorAnswer | undefined;
}

/** Where the token waits for a second factor. */
export interface FactorAnswer {
  challenge: string;
  code: string;
}

export interface Answer {
  redemption: string;
  lastFour: string;
  network: string;
  /** What the card wears. */
  design: string | undefined;
  header: string;
  sealed: { enc: string; ciphertext: string };
  /** What may still be asked for. */
  fieldsLeft: unknown;
  /** What was asked for and is not on the card. */
  missing: unknown;
  /** On our clock, so that a wrong clock on the cardholder's device does no harm. */
  windowEndsAt: number;
}

export type Event = "displayed" | "copied" | "hidden" | "expired";

export interface EventRequest {
  redemption: string;
  token: string;
  event: Event;
  field?: Field;
  visible?: true;
}

const RETRY_DELAYS_MS = [500, 1500];
const TIMEOUT_MS = 8000;

/**
 * Redeems, and asks again when the answer got lost: the token is bound to the key by then, and the
 * server repeats itself to that key for 30 s. All of the tries share one attempt id.
 */
export const redeem = (world: World, request: RedeemRequest): Promise<Answer> =>
  ask(world, "redeem", { ...request, attempt: world.uuid() }, parseAnswer);

/** Asks the server, and again when the answer got lost. */
export async function ask<T>(
  world: World,
  what: string,
  request: object,
  parse: (response: Response, now: number) => Promise<T>,
): Promise<T> {
  const body = JSON.stringify(request);
  for (let tries = 0; ; tries += 1) {
    try {
      return await askOnce(world, what, body, parse);
    } catch (cause) {
      const failure = Failure.from(cause);
      const delay = RETRY_DELAYS_MS[tries];
      if (!LOST.has(failure.code) || delay === undefined) throw failure;
      await world.wait(delay);
    }
  }
}

/** Tells the server what became of a release. Best effort: the cardholder never waits for it. */
export async function report(world: World, request: EventRequest): Promise<void> {
  for (let left = request.event === "displayed" ? 1 : 0; ; left -= 1) {
    try {
      const response = await world.fetch("/client/v1/events", {
        ...POST,
        keepalive: true,
        body: JSON.stringify(request),
      });
      // A node of the version before, during an upgrade, knows no such member.
      if (response.status === 400 && request.visible) {
        const { visible: _, ...known } = request;
        return report(world, known);
      }
      if (response.status < 500) return;
    } catch {
      // Lost on the way, like a 5xx.
    }
    if (left === 0) return;
    await world.wait(1000);
  }
}

const POST = {
  method: "POST",
  headers: { "content-type": "application/json" },
  credentials: "omit",
  cache: "no-store",
  redirect: "error",
  referrerPolicy: "no-referrer",
} as const satisfies RequestInit;

const LOST: ReadonlySet<string> = new Set(["offline", "timeout", "unavailable"]);

async function askOnce<T>(
  world: World,
  what: string,
  body: string,
  parse: (response: Response, now: number) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  try {
    const exchange = world
      .fetch(`/client/v1/${what}`, { ...POST, body, signal: abort.signal })
      .then(async (response) => {
        if (!response.ok) throw await refusal(response);
        return parse(response, world.now());
      });
    return await Promise.race([exchange, timeout(world, abort.signal)]);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure(world.online() ? "unavailable" : "offline", { retryable: true, cause });
  } finally {
    abort.abort();
  }
}

async function timeout(world: World, signal: AbortSignal): Promise<never> {
  await world.wait(TIMEOUT_MS);
  if (!signal.aborted) throw new Failure("timeout", { retryable: true });
  return new Promise(() => {});
}

async function refusal(response: Response): Promise<Failure> {
  const problem: Record<string, unknown> = await response.json().catch(() => ({}));
  const requestId = [problem["request_id"], response.headers.get("x-request-id")].find(
    (id): id is string => typeof id === "string" && REQUEST_ID.test(id),
  );
  if (response.status === 429) {
    const secs = Number(response.headers.get("retry-after"));
    const retryAfterMs = 1000 * (secs >= 1 && secs <= 3600 ? secs : 30);
    return new Failure("rate_limited", { retryable: true, requestId, retryAfterMs });
  }
  // Our own refusals say why; anything else stands between, such as the page of a guest network.
  if (response.status >= 500 || !problem["code"])
    return new Failure("unavailable", { retryable: true, requestId });
  const known = KNOWN.find((code) => code === problem["code"]);
  return new Failure(known ?? "invalid_request", { requestId });
}

const KNOWN = [
  "token_refused",
  "field_unavailable",
  "origin_refused",
  "mfa_required",
  "mfa_refused",
  "factor_unavailable",
] as const;

async function parseAnswer(response: Response, now: number): Promise<Answer> {
  const text = await response.text(); // a body cut short throws here, and is asked for again
  try {
    const { redemption, card, header, sealed, window, missing } = JSON.parse(text);
    const [enc, ciphertext] = [string(sealed.enc), string(sealed.ciphertext)];
    const serverNow = Date.parse(response.headers.get("date") ?? "") || now;
    const endsAt = Date.parse(string(window.ends_at));
    return {
      redemption: string(redemption),
      lastFour: /^\d{4}$/.test(string(card.last_four)) ? card.last_four : "",
      network: string(card.network).toLowerCase(),
      design: card.design,
      header: string(header),
      sealed: { enc, ciphertext },
      fieldsLeft: window.fields_left,
      missing,
      windowEndsAt: now + Math.min(Math.max(endsAt - serverNow || 0, 0), WINDOW_MAX_MS),
    };
  } catch (cause) {
    throw new Failure("unavailable", { retryable: true, cause });
  }
}

const WINDOW_MAX_MS = 10 * 60_000;

function string(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("a member is missing");
  return value;
}

/** Whether two lists name the same fields, whatever their order. */
export function sameFields(a: unknown, b: readonly Field[]): boolean {
  return (
    Array.isArray(a) &&
    a.length === b.length &&
    FIELDS.every((field) => a.includes(field) === b.includes(field))
  );
}
