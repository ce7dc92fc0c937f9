import type { ErrorCode } from "@cardveil/protocol";

/** Why the card cannot be shown. The words for a cardholder belong to `words`. */
export class Failure extends Error {
  readonly retryable: boolean;
  /** The server's id of the request, for a support desk. */
  readonly requestId: string | undefined;
  /** Unset once it has passed. */
  retryAfterMs: number | undefined;

  constructor(
    readonly code: ErrorCode,
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
    return cause instanceof Failure ? cause : new Failure("internal", { cause });
  }
}
