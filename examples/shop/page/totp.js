// The authenticator app of the demo's cardholder: RFC 6238 with SHA-1, six digits and steps of 30 s. It is
// in the page because the demo publishes its secret; a real one is in the cardholder's phone.

const STEP_SECS = 30;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

export function stepAt(ms) {
  return Math.floor(ms / 1000 / STEP_SECS);
}

/** For how many seconds a code is still shown. */
export function secondsLeft(ms) {
  return STEP_SECS - (Math.floor(ms / 1000) % STEP_SECS);
}

export async function codeOf(secret, step) {
  const key = await crypto.subtle.importKey(
    "raw",
    base32(secret),
    { name: "HMAC", hash: "SHA-1" },
    false,
    ["sign"],
  );
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(step));
  const mac = new DataView(await crypto.subtle.sign("HMAC", key, counter));
  // RFC 4226 5.3: the last four bits say where the 31 bits are.
  const at = mac.getUint8(mac.byteLength - 1) & 15;
  const number = (mac.getUint32(at) & 0x7fffffff) % 1_000_000;
  return String(number).padStart(6, "0");
}

/** RFC 4648 section 6, without padding. */
function base32(text) {
  const bytes = [];
  let bits = 0;
  let held = 0;
  for (const letter of text.replace(/=+$/, "")) {
    const value = ALPHABET.indexOf(letter);
    if (value < 0) throw new Error("not Base32");
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
    }
  }
  return new Uint8Array(bytes);
}
