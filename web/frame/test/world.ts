/**
 * A Cardveil that lives in a test: it seals answers as the real one does
 * (docs/reference/protocol.md), on a clock that only moves when the test says so.
 */
import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import { sha256, toBase64Url, utf8 } from "../src/bytes.ts";
import type { Surroundings } from "../src/card.ts";
import type { Config } from "../src/config.ts";
import type { KeepKey } from "../src/holder-key.ts";
import type { AskFactor } from "../src/second-factor.ts";
import { Sighting } from "../src/sight.ts";
import { en } from "../src/words/en.ts";
import { LANGUAGES } from "../src/words/all.ts";
import type { Spoken } from "../src/words/index.ts";

export const TOKEN = "cvt_test_0000000000000000000000000000000000000000001";
export const EMBED = "emb_test";
export const CARD = {
  pan: "4111111111111111",
  expiry: { month: "12", year: "2030" },
  cvv: "987",
  name: "A CARDHOLDER",
};

export const wordsOf = (lang: string): Spoken => ({ lang, ...(LANGUAGES[lang] ?? en) });
export const CONFIG: Config = {
  embed: EMBED,
  origins: [],
  copyCvv: false,
  transparent: false,
  words: wordsOf("en"),
  asked: "en",
  fonts: [],
  designs: [],
};

type Body = Record<string, any>;
/** What happens to one request: the answer may be changed, lost, refused, or never come. */
export type Fate =
  | "ok"
  | "lose request"
  | "lose answer"
  | "hang"
  | Response
  | {
      header?: (header: Body) => void;
      plaintext?: (plaintext: Body) => void;
      answer?: (answer: Body) => void;
    };

export class World implements Surroundings {
  time = Date.parse("2030-01-01T00:00:00Z");
  /** How far the server's clock is ahead of ours. */
  serverAheadMs = 0;
  isOnline = true;
  isVisible = true;
  canCopy = true;
  /** What the card does not have. */
  lacks: string[] = [];
  clipboard: string[] = [];
  waits: number[] = [];
  redeems: Body[] = [];
  events: Body[] = [];
  fates: Fate[] = [];
  eventFates: ("lose" | number)[] = [];
  /** What the tokens wait for, by which code they open, and who has been asked. */
  asks: "TOTP" | "OTP" | undefined;
  code = "123456";
  challenges: Body[] = [];
  challengeFates: Response[] = [];
  askFactor: AskFactor | undefined;
  /** The languages whose words were asked for. */
  languages: string[] = [];
  wordFates: ("lose" | number)[] = [];
  readonly #bound = new Map<string, { thumbprint: string; id: string; endsAt: number }>();
  readonly #timers = new Set<{ at: number; run: () => void }>();

  now = () => this.time;
  uuid = () => crypto.randomUUID();
  online = () => this.isOnline;
  visible = () => this.isVisible;
  sight = new Sighting(() => this.time, "unknown");
  readonly #keys = new Map<string, Promise<CryptoKeyPair>>();
  /** As a browser does: what comes again finds the key that was kept. */
  keepKey: KeepKey = (name, make) => {
    const pair = this.#keys.get(name) ?? make();
    this.#keys.set(name, pair);
    return pair;
  };
  painted = () => Promise.resolve();

  timer = (ms: number, run: () => void) => {
    const timer = { at: this.time + ms, run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  /**
   * A pause between tries passes at once and is written down; the time limit of a request never
   * does.
   */
  wait = (ms: number): Promise<void> => {
    this.waits.push(ms);
    if (ms >= 8000) return this.hangs ? Promise.resolve() : new Promise(() => {});
    this.time += ms;
    return Promise.resolve();
  };
  hangs = false;

  copy = (text: string) => {
    if (this.canCopy) this.clipboard.push(text);
    return Promise.resolve(this.canCopy);
  };

  get timersLeft(): number {
    return this.#timers.size;
  }

  /** Moves the clock, stopping at every timer on the way. */
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.run();
    }
    this.time = end;
  }

  fetch = async (path: string, init: RequestInit): Promise<Response> => {
    const [, language] = /^\/client\/v1\/words\/(\w+)$/.exec(path) ?? [];
    if (language !== undefined) return this.#speak(language);
    const body: Body = JSON.parse(String(init.body));
    if (path === "/client/v1/events") return this.#event(body);
    if (path === "/client/v1/challenge") return this.#challenge(body);
    if (path !== "/client/v1/redeem") throw new Error(`nobody should ask for ${path}`);
    this.redeems.push(body);
    const fate = this.fates.shift() ?? "ok";
    if (fate === "lose request") throw new TypeError("Failed to fetch");
    if (fate === "hang") {
      this.hangs = true;
      return new Promise(() => {});
    }
    if (fate instanceof Response) return fate;
    const response = await this.#redeem(body, typeof fate === "object" ? fate : {});
    if (fate === "lose answer") throw new TypeError("Failed to fetch");
    return response;
  };

  #speak(language: string): Response {
    this.languages.push(language);
    const fate = this.wordFates.shift();
    if (fate === "lose") throw new TypeError("Failed to fetch");
    if (fate !== undefined) return new Response("{}", { status: fate });
    return Response.json(wordsOf(language in LANGUAGES ? language : "en"));
  }

  #challenge(body: Body): Response {
    this.challenges.push(body);
    const fate = this.challengeFates.shift();
    if (fate !== undefined) return fate;
    const serverNow = this.time + this.serverAheadMs;
    const expires_at = new Date(serverNow + 300_000).toISOString();
    return Response.json(
      { factor: this.asks, expires_at },
      { headers: { date: new Date(serverNow).toUTCString() } },
    );
  }

  #event(body: Body): Response {
    this.events.push(body);
    const fate = this.eventFates.shift();
    if (fate === "lose") throw new TypeError("Failed to fetch");
    return new Response(null, { status: fate ?? 204 });
  }

  async #redeem(body: Body, change: Extract<Fate, { answer?: unknown }>): Promise<Response> {
    const { x, y } = body["key"];
    const thumbprint = await sha256(JSON.stringify({ crv: "P-256", kty: "EC", x, y }));
    const serverNow = this.time + this.serverAheadMs;
    if (this.asks !== undefined && !this.#bound.has(body["token"])) {
      if (body["factor"] === undefined) return problem(403, "mfa_required");
      const asked = this.challenges.some(({ challenge }) => challenge === body["factor"].challenge);
      if (!asked || body["factor"].code !== this.code) return problem(403, "mfa_refused");
    }
    const bound = this.#bound.get(body["token"]) ?? {
      thumbprint,
      id: `rdm_${this.#bound.size + 1}`,
      endsAt: serverNow + 60_000,
    };
    this.#bound.set(body["token"], bound);
    if (bound.thumbprint !== thumbprint || serverNow > bound.endsAt)
      return problem(403, "token_refused");
    const [fields, missing] = [false, true].map((lacking) =>
      body["fields"].filter((field: string) => this.lacks.includes(field) === lacking),
    );
    if (fields.length === 0) return problem(403, "field_unavailable");
    const header: Body = {
      redemption: bound.id,
      token: await sha256(body["token"]),
      merchant: "mer_1",
      embed: body["embed"],
      operation: "VIEW_CARD",
      fields,
      thumbprint,
      issued_at: new Date(serverNow).toISOString(),
      expires_at: new Date(bound.endsAt).toISOString(),
    };
    change.header?.(header);
    const plaintext: Body = Object.fromEntries(
      fields.map((field: keyof typeof CARD) => [field, CARD[field]]),
    );
    change.plaintext?.(plaintext);
    const aad = utf8(JSON.stringify(header));
    const answer: Body = {
      redemption: bound.id,
      card: { last_four: CARD.pan.slice(-4), network: "visa" },
      header: toBase64Url(aad),
      sealed: await seal(body["key"], aad, JSON.stringify(plaintext)),
      window: {
        ends_at: new Date(bound.endsAt).toISOString(),
        fields_left: ["cvv"].filter((field) => !this.lacks.includes(field)),
      },
      ...(missing.length === 0 ? {} : { missing }),
    };
    change.answer?.(answer);
    return new Response(JSON.stringify(answer), {
      headers: { date: new Date(serverNow).toUTCString() },
    });
  }
}

export function problem(
  status: number,
  code: string,
  headers: Record<string, string> = {},
): Response {
  return new Response(
    JSON.stringify({ type: "about:blank", title: code, status, code, request_id: "req_1" }),
    { status, headers },
  );
}

const suite = new CipherSuite({
  kem: new DhkemP256HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});

async function seal(jwk: JsonWebKey, aad: BufferSource, plaintext: string) {
  const recipientPublicKey = await suite.kem.importKey("jwk", jwk, true);
  const sender = await suite.createSenderContext({
    recipientPublicKey,
    info: utf8("cardveil/redeem/v1"),
  });
  const ciphertext = await sender.seal(utf8(plaintext), aad as ArrayBuffer);
  return {
    enc: toBase64Url(new Uint8Array(sender.enc)),
    ciphertext: toBase64Url(new Uint8Array(ciphertext)),
  };
}
