import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_P256_HKDF_SHA256 } from "hpke";
import { fromBase64Url, sha256, utf8 } from "./bytes.ts";

export interface PublicJwk {
  kty: "EC";
  crv: "P-256";
  x: string;
  y: string;
}

const suite = new CipherSuite(KEM_DHKEM_P256_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM);
const INFO = utf8("cardveil/redeem/v1");

/** Answers the pair that was kept under a name, or keeps the one that it makes. */
export type KeepKey = (name: string, make: () => Promise<CryptoKeyPair>) => Promise<CryptoKeyPair>;

/**
 * The key that one token gets bound to.
 *
 * **Invariant**: its private half is not extractable.
 */
export class HolderKey {
  readonly #pair: CryptoKeyPair;

  private constructor(
    pair: CryptoKeyPair,
    readonly jwk: PublicJwk,
    /** RFC 7638, SHA-256. */
    readonly thumbprint: string,
  ) {
    this.#pair = pair;
  }

  /** The same key for the same token, as long as it is kept; what names it is the token's hash. */
  static async forToken(token: string, keep: KeepKey): Promise<HolderKey> {
    const algorithm = { name: "ECDH", namedCurve: "P-256" };
    return HolderKey.of(
      await keep(await sha256(token), () =>
        crypto.subtle.generateKey(algorithm, false, ["deriveBits"]),
      ),
    );
  }

  static async of(pair: CryptoKeyPair): Promise<HolderKey> {
    const { x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
    if (x === undefined || y === undefined) throw new TypeError("not an EC key");
    const jwk = { kty: "EC", crv: "P-256", x, y } as const;
    // RFC 7638 3: the required members alone, in lexicographic order.
    const thumbprint = await sha256(JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x, y }));
    return new HolderKey(pair, jwk, thumbprint);
  }

  /**
   * Opens an answer (RFC 9180, base mode, one shot), hands its text to `read`, then clears the
   * bytes.
   */
  async open<T>(
    sealed: { enc: string; ciphertext: string },
    aad: Uint8Array<ArrayBuffer>,
    read: (json: string) => T,
  ): Promise<T> {
    const [enc, ciphertext] = [fromBase64Url(sealed.enc), fromBase64Url(sealed.ciphertext)];
    const plaintext = await suite.Open(this.#pair, enc, ciphertext, { aad, info: INFO });
    try {
      return read(new TextDecoder("utf-8", { fatal: true }).decode(plaintext));
    } finally {
      plaintext.fill(0);
    }
  }
}
