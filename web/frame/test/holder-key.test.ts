import { AEAD_AES_128_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_P256_HKDF_SHA256 } from "hpke";
import { describe, expect, it, vi } from "vitest";
import rfc from "../../../crates/seal/tests/vectors/rfc9180_a3_1.json" with { type: "json" };
import { fromBase64Url, toBase64Url } from "../src/bytes.ts";
import { HolderKey } from "../src/holder-key.ts";
import vector from "./hpke.json" with { type: "json" };

const ALGORITHM = { name: "ECDH", namedCurve: "P-256" };

async function holder(): Promise<HolderKey> {
  const { d, ...open } = vector.key;
  const privateKey = await crypto.subtle.importKey("jwk", { ...open, d }, ALGORITHM, false, [
    "deriveBits",
  ]);
  const publicKey = await crypto.subtle.importKey("jwk", open, ALGORITHM, true, []);
  return HolderKey.of({ privateKey, publicKey });
}

/** The frame's own suite differs from that of the appendix in the length of its AES key alone. */
describe("the library", () => {
  it("opens the first message of RFC 9180, A.3.1, and no other in its place", async () => {
    const hex = (text: string) =>
      Uint8Array.from(text.match(/../g) ?? [], (byte) => parseInt(byte, 16));
    const [x, y] = [hex(rfc.pkRm).slice(1, 33), hex(rfc.pkRm).slice(33)].map(toBase64Url);
    const open = { kty: "EC", crv: "P-256", x, y } as JsonWebKey;
    const privateKey = await crypto.subtle.importKey(
      "jwk",
      { ...open, d: toBase64Url(hex(rfc.skRm)) },
      ALGORITHM,
      false,
      ["deriveBits"],
    );
    const publicKey = await crypto.subtle.importKey("jwk", open, ALGORITHM, true, []);
    const suite = new CipherSuite(KEM_DHKEM_P256_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_128_GCM);
    const opened = rfc.encryptions.map(({ aad, ct }) =>
      suite.Open({ privateKey, publicKey }, hex(rfc.enc), hex(ct), {
        aad: hex(aad),
        info: hex(rfc.info),
      }),
    );
    const [first, ...others] = await Promise.allSettled(opened);
    expect(first).toEqual({ status: "fulfilled", value: hex(rfc.encryptions[0]!.pt) });
    expect(others.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  });
});

describe("HolderKey", () => {
  it("opens the vector", async () => {
    const key = await holder();
    expect(key.thumbprint).toBe(vector.thumbprint);
    expect(await key.open(vector, fromBase64Url(vector.aad), String)).toBe(vector.plaintext);
  });

  it.each(["enc", "ciphertext", "aad"] as const)(
    "opens nothing when a bit of %s is another",
    async (part) => {
      const key = await holder();
      const bytes = fromBase64Url(vector[part]);
      for (const at of [1, bytes.length - 1]) {
        const changed = bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
        const { aad, ...sealed } = { ...vector, [part]: toBase64Url(changed) };
        await expect(key.open(sealed, fromBase64Url(aad), String)).rejects.toThrow();
      }
    },
  );

  it("opens nothing with another key", async () => {
    const other = await holderOf("a token");
    await expect(other.open(vector, fromBase64Url(vector.aad), String)).rejects.toThrow();
  });

  it("clears the bytes that it opened", async () => {
    const decode = vi.spyOn(TextDecoder.prototype, "decode");
    const key = await holder();
    expect(await key.open(vector, fromBase64Url(vector.aad), String)).toBe(vector.plaintext);
    const bytes = decode.mock.calls.at(-1)?.[0] as Uint8Array;
    expect(bytes).toHaveLength(vector.plaintext.length);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  it("keeps a private half that cannot be taken out", async () => {
    const generate = vi.spyOn(crypto.subtle, "generateKey");
    const { jwk } = await holderOf("a token");
    const { privateKey } = (await generate.mock.results[0]?.value) as CryptoKeyPair;
    expect(privateKey.extractable).toBe(false);
    expect(jwk).toEqual({ kty: "EC", crv: "P-256", x: expect.any(String), y: expect.any(String) });
  });

  it("is another one each time", async () => {
    const [a, b] = [await holderOf("a token"), await holderOf("a token")];
    expect(a.thumbprint).not.toBe(b.thumbprint);
    expect(Object.keys(a)).toEqual(["jwk", "thumbprint"]);
  });
});

/** A browser that keeps nothing. */
const holderOf = (token: string) => HolderKey.forToken(token, (_name, make) => make());

describe("base64url", () => {
  it("survives every byte", () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(fromBase64Url(toBase64Url(bytes))).toEqual(bytes);
  });

  it.each(["ab=", "a+b/", "a b", "é"])("refuses %s", (text) => {
    expect(() => fromBase64Url(text)).toThrow(TypeError);
  });
});
