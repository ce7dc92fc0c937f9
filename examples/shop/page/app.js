// The cardholder's authenticator app, drawn beside the card: the demo publishes its secret. In real life it is
// on their phone, and no page knows of it. The frame asks for the code; this page has no part in it.

import { $ } from "./page.js";
import { codeOf, secondsLeft, stepAt } from "./totp.js";

let secret; // of the card that is picked; null where it needs no code
let code = "";
let timer;

$("copy-code").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(code);
    $("copy-code").textContent = "Copied";
  } catch {
    $("copy-code").textContent = "Type it by hand";
  }
});

/** Shows what the app of a card's holder shows, if it has one. */
export function showApp(card) {
  secret = card.totp_secret;
  $("app").hidden = secret === null;
  $("copy-code").textContent = "Copy code";
  clearTimeout(timer);
  if (secret !== null) tick(secret);
}

async function tick(of) {
  const now = Date.now();
  const next = await codeOf(of, stepAt(now));
  if (of !== secret) return;
  code = next;
  const seconds = secondsLeft(now);
  $("app-code").textContent = `${code.slice(0, 3)} ${code.slice(3)}`;
  $("app-left").textContent = `Changes in ${seconds} s`;
  $("app-bar").style.setProperty("--left", String(seconds / 30));
  clearTimeout(timer);
  timer = setTimeout(tick, 1_000 - (now % 1_000), of);
}
