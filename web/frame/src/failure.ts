import type { ErrorCode } from "@cardveil/protocol";

/** Why the card cannot be shown. The words for a cardholder belong to `words`. */
export class Failure extends Error {
  readonly retryable: boolean;
  /** The server's id of the request, for a support desk. */
  readonly requestId: string | undefined;
  /** Unset once it has passed. */
  retryAfterMs: number | undefined;

  constructor(
    /** That a code is refused, no page hears. */
    readonly code: ErrorCode | "mfa_refused",
    more: {
      retryable?: boolean;
      requestId?: string | undefined;
      retryAfterMs?: number;
      cause?: unknown;
    } = {},
  ) {
    super(code, { cause: more.cause });
    this.retryable = more.retryable ?? false;
    this.requestId = more.requestId;
    this.retryAfterMs = more.retryAfterMs;
  }

  static from(cause: unknown): Failure {
    // By its form: what asks for a second factor is a bundle with a class of its own.
    return (cause as Failure)?.retryable === undefined
      ? new Failure("internal", { cause })
      : (cause as Failure);
  }
}
