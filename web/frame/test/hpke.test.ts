import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import rfc from "../../../crates/seal/tests/vectors/rfc9180_p256_aes_256_gcm.json" with { type: "json" };
import { toBase64Url } from "../src/bytes.ts";
import { open, schedule } from "../src/hpke.ts";

const hex = (text: string) =>
  Uint8Array.from(text.match(/../g) ?? [], (byte) => parseInt(byte, 16));
const ALGORITHM = { name: "ECDH", namedCurve: "P-256" };

async function recipient({ pkRm, skRm }: { pkRm: string; skRm: string }): Promise<CryptoKeyPair> {
  const [x, y] = [hex(pkRm).slice(1, 33), hex(pkRm).slice(33)].map(toBase64Url);
  const jwk = { kty: "EC", crv: "P-256", x, y } as JsonWebKey;
  const d = toBase64Url(hex(skRm));
  return {
    privateKey: await crypto.subtle.importKey("jwk", { ...jwk, d }, ALGORITHM, false, [
      "deriveBits",
    ]),
    publicKey: await crypto.subtle.importKey("jwk", jwk, ALGORITHM, true, []),
  };
}

/** The vector's messages: one byte of length, then so many bytes, out of SHAKE128 of nothing. */
function* drawn(): Generator<Uint8Array<ArrayBuffer>> {
  const source = createHash("shake128", { outputLength: 1 << 20 }).digest();
  for (let at = 0; ;) {
    const length = source[at]!;
    yield new Uint8Array(source.subarray(at + 1, at + 1 + length));
    at += 1 + length;
  }
}

describe("HPKE", () => {
  it("opens the vectors of RFC 9180 for its suite, and the first message alone", async () => {
    expect(rfc.vectors).toHaveLength(1);
    for (const vector of rfc.vectors) {
      const pair = await recipient(vector);
      const [enc, info] = [hex(vector.enc), hex(vector.info)];
      const { key, nonce } = await schedule(pair, enc, info);
      const cipher = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
      const all = createHash("shake128", { outputLength: 16 });
      const source = drawn();
      for (let sequence = 0; sequence < 1000; sequence += 1) {
        const [aad, plaintext] = [source.next().value, source.next().value];
        const iv = nonce.slice();
        iv[10]! ^= sequence >> 8;
        iv[11]! ^= sequence & 255;
        const algorithm = { name: "AES-GCM", iv, additionalData: aad };
        const ciphertext = new Uint8Array(
          await crypto.subtle.encrypt(algorithm, cipher, plaintext),
        );
        all.update(ciphertext);
        if (sequence > 1) continue;
        const opened = open(pair, enc, ciphertext, { info, aad });
        if (sequence === 0) expect(await opened).toEqual(plaintext);
        else await expect(opened).rejects.toThrow();
      }
      expect(all.digest("hex")).toBe(vector.encryptions_accumulated);
    }
  });

  it.each([
    ["nothing", ""],
    ["a compressed point", `03${"11".repeat(32)}`],
    ["a hybrid point", `06${"11".repeat(64)}`],
    ["no point of the curve", `04${"11".repeat(64)}`],
    ["the point at infinity", "00"],
  ])("refuses %s in place of a sender's key", async (_, enc) => {
    const pair = await recipient(rfc.vectors[0]!);
    await expect(schedule(pair, hex(enc), hex(""))).rejects.toThrow();
  });
});
