// The cardholder's authenticator app, drawn beside the card: the demo publishes its secret. In real life it is
// on their phone, and no page knows of it. The frame asks for the code; this page has no part in it.

import { $ } from "./page.js";
import { codeOf, secondsLeft, stepAt } from "./totp.js";

let timer;

/** Shows what the app of a card's holder shows, if it has one. */
export function showApp(card) {
  clearTimeout(timer);
  $("app").hidden = card.totp_secret === null;
  $("copy-code").textContent = "Copy code";
  if (card.totp_secret !== null) run(card.totp_secret);
}

function run(secret) {
  let code = "";
  let stopped = false;
  const tick = async () => {
    const now = Date.now();
    code = await codeOf(secret, stepAt(now));
    if (stopped) return;
    const seconds = secondsLeft(now);
    $("app-code").textContent = `${code.slice(0, 3)} ${code.slice(3)}`;
    $("app-left").textContent = `Changes in ${seconds} s`;
    $("app-bar").style.setProperty("--left", String(seconds / 30));
    timer = setTimeout(tick, 1_000 - (now % 1_000));
    $("copy-code").onclick = () => copy(code);
  };
  stop();
  stop = () => (stopped = true);
  tick();
}

let stop = () => {};

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code);
    $("copy-code").textContent = "Copied";
  } catch {
    $("copy-code").textContent = "Type it by hand";
  }
}
