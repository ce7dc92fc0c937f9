import type { ErrorCode } from "@cardveil/protocol";
import type { CardError } from "./api.ts";

export class CardveilError extends Error implements CardError {
  override readonly name = "CardveilError";
  readonly requestId?: string;

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly retryable = false,
    requestId?: string,
  ) {
    super(message);
    if (requestId !== undefined) this.requestId = requestId;
  }
}

export const badOption = (message: string) =>
  new CardveilError("bad_option", `Cardveil: ${message}`);

const warned = new Set<string>();

/** For the page's engineer, who would read it again and again. */
export function warnOnce(what: string): void {
  if (warned.has(what)) return;
  warned.add(what);
  console.warn(`Cardveil: ${what}`);
}

/** What an engineer adds where the page's own policy forbids something. */
export const policyLine = (directive: string) =>
  `add "${directive}" to this page's Content-Security-Policy`;
