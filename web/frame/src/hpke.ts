/**
 * Opens what was sealed to a key: RFC 9180, base mode, one shot, in the one suite of Cardveil,
 * DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. The curve, the MAC and the cipher are the
 * browser's.
 *
 * **Invariant**: what opens is exactly what the holder of `enc`'s private half sealed with this
 * `info` and `aad`; anything else throws.
 */
import { utf8 } from "./bytes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** RFC 9180 7.1: of the KEM, of the KDF, of the AEAD; two bytes each. */
const [P256, HKDF_SHA256, AES_256_GCM] = ["\0\x10", "\0\x01", "\0\x02"];
const OF_KEM = `KEM${P256}`;
const OF_HPKE = `HPKE${P256}${HKDF_SHA256}${AES_256_GCM}`;
const NONE = new Uint8Array();

export async function open(
  recipient: CryptoKeyPair,
  enc: Bytes,
  ciphertext: Bytes,
  { info, aad }: { info: Bytes; aad: Bytes },
): Promise<Bytes> {
  const { key, nonce } = await schedule(recipient, enc, info);
  const cipher = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  key.fill(0);
  const algorithm = { name: "AES-GCM", iv: nonce, additionalData: aad };
  return new Uint8Array(await crypto.subtle.decrypt(algorithm, cipher, ciphertext));
}

/** The AEAD's key and the nonce of the first message (5.1, KeySchedule). */
export async function schedule(
  recipient: CryptoKeyPair,
  enc: Bytes,
  info: Bytes,
): Promise<{ key: Bytes; nonce: Bytes }> {
  const shared = await decap(recipient, enc);
  const hashes = await Promise.all([
    extract(OF_HPKE, NONE, "psk_id_hash", NONE),
    extract(OF_HPKE, NONE, "info_hash", info),
  ]);
  const context = concat(Uint8Array.of(0), ...hashes); // the mode is "base"
  const secret = await extract(OF_HPKE, shared, "secret", NONE);
  const [key, nonce] = await Promise.all([
    expand(OF_HPKE, secret, "key", context, 32),
    expand(OF_HPKE, secret, "base_nonce", context, 12),
  ]);
  for (const bytes of [shared, secret]) bytes.fill(0);
  return { key, nonce };
}

/** 4.1, Decap. */
async function decap({ privateKey, publicKey }: CryptoKeyPair, enc: Bytes): Promise<Bytes> {
  // 7.1.1: uncompressed points alone, which some browsers read in other forms too.
  if (enc.length !== 65 || enc[0] !== 4) throw new TypeError("not a point of P-256");
  const algorithm = { name: "ECDH", namedCurve: "P-256" };
  // Whether it is on the curve (7.1.4) the browser finds out.
  const point = await crypto.subtle.importKey("raw", enc, algorithm, false, []);
  const dh = new Uint8Array(
    await crypto.subtle.deriveBits({ name: "ECDH", public: point }, privateKey, 256),
  );
  const own = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
  const prk = await extract(OF_KEM, NONE, "eae_prk", dh);
  const shared = await expand(OF_KEM, prk, "shared_secret", concat(enc, own), 32);
  for (const bytes of [dh, prk]) bytes.fill(0);
  return shared;
}

/** 4, LabeledExtract. */
function extract(suite: string, salt: Bytes, label: string, ikm: Bytes): Promise<Bytes> {
  return hmac(salt, utf8(`HPKE-v1${suite}${label}`), ikm);
}

/** 4, LabeledExpand, for one block at most (RFC 5869 2.3). */
async function expand(
  suite: string,
  prk: Bytes,
  label: string,
  info: Bytes,
  length: number,
): Promise<Bytes> {
  const labelled = utf8(`\0${String.fromCharCode(length)}HPKE-v1${suite}${label}`);
  return (await hmac(prk, labelled, info, Uint8Array.of(1))).slice(0, length);
}

async function hmac(key: Bytes, ...parts: readonly Bytes[]): Promise<Bytes> {
  // An empty salt is a hash's length of zeros (RFC 5869 2.2); some browsers take no empty key.
  const raw = key.length === 0 ? new Uint8Array(32) : key;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const mac = await crypto.subtle.importKey("raw", raw, algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", mac, concat(...parts)));
}

function concat(...parts: readonly Bytes[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
