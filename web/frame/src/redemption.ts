import { type Field, FIELDS } from "@cardveil/protocol";
import { fromBase64Url, sha256 } from "./bytes.ts";
import {
  type Answer,
  type Event,
  type FactorAnswer,
  redeem,
  report,
  sameFields,
  type World,
} from "./client.ts";
import { Failure } from "./failure.ts";
import { HolderKey, type PublicJwk } from "./holder-key.ts";
import { parseSecrets, type Secrets } from "./secrets.ts";

export interface Release {
  secrets: Secrets;
  /** Those of the asked fields that the card has. */
  there: readonly Field[];
  lastFour: string;
  network: string;
  /** What the card wears. */
  design: string | undefined;
  /** What this token may still show. */
  left: readonly Field[];
}

/** What the server allows the same key: a field again for 30 s after the claim, 3 times at most. */
const REPEATS = 3;
const WINDOW_LEFT_AFTER_REPEATS_MS = 30_000;

/**
 * One token, the key it gets bound to, and what that key may still ask for.
 *
 * **Invariant**: nothing is handed out before the header of the answer says what was asked, but for
 * what the answer says that the card lacks.
 */
export class Redemption {
  #id: string | undefined;
  #windowEndsAt: number | undefined;
  #released = new Set<Field>();
  #repeats = 0;

  private constructor(
    private readonly world: World,
    private readonly embed: string,
    private readonly token: string,
    private readonly key: HolderKey,
  ) {}

  static async begin(world: World, embed: string, token: string): Promise<Redemption> {
    try {
      return new Redemption(world, embed, token, await HolderKey.forToken(token, world.keepKey));
    } catch (cause) {
      // No WebCrypto: an old browser, or a page without TLS.
      throw new Failure("unsupported", { cause });
    }
  }

  /** Until when fields not yet released may be asked for; unknown before the first release. */
  get windowEndsAt(): number | undefined {
    return this.#windowEndsAt;
  }

  /** Whether these fields may be asked for, now. Before the first release nobody knows better. */
  offers(fields: readonly Field[]): boolean {
    const endsAt = this.#windowEndsAt;
    if (endsAt === undefined) return true;
    if (!fields.some((field) => this.#released.has(field))) return this.world.now() < endsAt;
    return this.#repeats < REPEATS && this.world.now() < endsAt - WINDOW_LEFT_AFTER_REPEATS_MS;
  }

  /** What every request of this token says. */
  request<T>(more: T): T & { token: string; embed: string; key: PublicJwk } {
    const { embed, token, key } = this;
    return { token, embed, key: key.jwk, ...more };
  }

  async release(fields: readonly Field[], factor?: FactorAnswer): Promise<Release> {
    if (fields.some((field) => this.#released.has(field))) this.#repeats += 1;
    const answer = await redeem(this.world, this.request({ fields, factor }));
    const missing: readonly unknown[] = Array.isArray(answer.missing) ? answer.missing : [];
    const there = fields.filter((field) => !missing.includes(field));
    const header = await this.#checkedHeader(answer, there);
    const secrets = await this.key
      .open(answer.sealed, header, (json) => parseSecrets(json, there))
      .catch((cause) => {
        throw new Failure("header_mismatch", { cause });
      });
    this.#id = answer.redemption;
    this.#windowEndsAt ??= answer.windowEndsAt;
    for (const field of there) this.#released.add(field);
    const fieldsLeft: readonly unknown[] = Array.isArray(answer.fieldsLeft)
      ? answer.fieldsLeft
      : [];
    const left = FIELDS.filter(
      (field) =>
        !missing.includes(field) && (this.#released.has(field) || fieldsLeft.includes(field)),
    );
    return {
      secrets,
      there,
      left,
      lastFour: secrets.pan?.slice(-4) ?? answer.lastFour,
      network: answer.network,
      design: answer.design,
    };
  }

  /** `visible`: the browser has looked, and nothing hid it. */
  report(event: Event, field?: Field, visible = false): void {
    if (this.#id === undefined) return;
    const request = { redemption: this.#id, token: this.token, event };
    void report(this.world, {
      ...request,
      ...(field === undefined ? {} : { field }),
      ...(visible ? { visible } : {}),
    });
  }

  /** The header is the AAD of the seal, so what it says is what the server sealed. */
  async #checkedHeader(answer: Answer, fields: readonly Field[]): Promise<Uint8Array<ArrayBuffer>> {
    try {
      const bytes = fromBase64Url(answer.header);
      const header: Record<string, unknown> = JSON.parse(new TextDecoder().decode(bytes));
      const says =
        header["redemption"] === answer.redemption &&
        (this.#id === undefined || this.#id === answer.redemption) &&
        header["token"] === (await sha256(this.token)) &&
        header["embed"] === this.embed &&
        header["operation"] === "VIEW_CARD" &&
        header["thumbprint"] === this.key.thumbprint &&
        fields.length > 0 &&
        sameFields(header["fields"], fields);
      if (says) return bytes;
    } catch (cause) {
      throw new Failure("header_mismatch", { cause });
    }
    throw new Failure("header_mismatch");
  }
}
