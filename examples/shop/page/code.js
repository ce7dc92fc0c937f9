// The form that asks for a code before a protected card is shown. The backend opens a session for one card;
// a code for it gives one token. A session ends after five minutes and at the fifth wrong code. Cardveil
// does not tell what was wrong with a code, so what the page says of an ended session it has counted itself.

import { $, api, ask } from "./page.js";
import { codeOf, secondsLeft, stepAt } from "./totp.js";

const TRIES = 5;

let wallets; // whether the chosen card is offered to wallets
let usedStep; // of the code that worked last: it does not work again

/** Makes room for the form, so that nothing moves when it appears. */
export function reserve(card) {
  wallets = card.wallets;
  $("code").hidden = card.totp_secret === null;
  display(false);
}

/** Resolves with a token. Rejects when the session cannot be opened, or with `signal`'s reason. */
export function askForCode(card, signal) {
  return new Promise((resolve, reject) => {
    const stopApp = runApp(card.totp_secret);
    const end = (settle) => (value) => {
      stopApp();
      $("code").onsubmit = null;
      display(false);
      settle(value);
    };
    const done = end(resolve);
    const failed = end(reject);
    signal.addEventListener("abort", () => failed(signal.reason), { once: true });
    begin(card, signal, done, failed);
  });
}

async function begin(card, signal, done, failed) {
  let session;
  try {
    session = await openSession(card, signal);
  } catch (refusal) {
    return signal.aborted || failed(refusal);
  }
  let wrong = 0;
  let ended = false;
  let checking = false;
  const input = $("code-input");
  const end = (why) => {
    ended = true;
    input.disabled = true;
    $("use-code").disabled = true;
    input.value = "";
    tell(why);
    $("confirm").textContent = "Start again";
    $("confirm").focus();
  };
  const expire = () =>
    end("The five minutes for typing a code are over. Start again to get a new try.");
  const timer = setTimeout(() => ended || checking || expire(), session.leftMs);
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });

  input.disabled = false;
  input.value = "";
  tell("");
  $("confirm").textContent = "Confirm code";
  display(true);
  input.focus();

  $("code").onsubmit = async (event) => {
    event.preventDefault();
    if (checking) return;
    if (ended) return again();
    const code = input.value;
    if (!/^\d{6}$/.test(code)) return retry("Type all six digits of the code.");
    checking = true;
    busy(true);
    const step = stepAt(Date.now());
    try {
      const body = { sessionId: session.id, code };
      const { token } = (await ask(card, `token?api=${api()}`, { body, signal })).body;
      clearTimeout(timer);
      usedStep = step;
      done(token);
    } catch (refusal) {
      if (signal.aborted) return;
      if (refusal.code !== "mfa_refused") {
        clearTimeout(timer);
        return failed(refusal);
      }
      wrong += 1;
      if (Date.now() >= session.endsAt) expire();
      else if (wrong >= TRIES)
        end("That was the fifth wrong code, so this try is over. Nothing was shown.");
      else
        retry(
          `That code was not accepted. Type the one that your app shows now: each works once. ${left(TRIES - wrong)}`,
        );
    } finally {
      checking = false;
      busy(false);
    }
  };

  function again() {
    clearTimeout(timer);
    begin(card, signal, done, failed);
  }

  function retry(why) {
    tell(why);
    input.setAttribute("aria-invalid", "true");
    input.select();
    input.focus();
  }
}

async function openSession(card, signal) {
  const { body, date } = await ask(card, `session?api=${api()}`, { signal });
  // By the server's clock: this one may be wrong.
  const leftMs = Date.parse(body.expiresAt) - (Date.parse(date ?? "") || Date.now());
  return { id: body.sessionId, leftMs, endsAt: Date.now() + leftMs };
}

function left(tries) {
  return tries === 1 ? "One try is left." : `${tries} tries are left.`;
}

function tell(why) {
  $("code-input").removeAttribute("aria-invalid");
  $("code-error").textContent = why;
}

function busy(is) {
  $("confirm").setAttribute("aria-disabled", String(is));
}

/** Out of sight it keeps its room, and neither focus nor screen reader comes to it. */
function display(is) {
  $("code").classList.toggle("away", !is);
  $("code").inert = !is;
  $("placeholder").classList.toggle("away", is);
  for (const [id, hidden] of [
    ["confirm", !is],
    ["show", is],
    ["add-to-wallet", is || !wallets],
    ["close", !is],
  ])
    $(id).hidden = hidden;
  $("close").textContent = is ? "Cancel" : "Close";
}

$("code-input").addEventListener("input", ({ target }) => {
  // Codes are pasted with spaces in them.
  const digits = target.value.replace(/\D/g, "").slice(0, 6);
  if (digits !== target.value) target.value = digits;
});

/** Shows what the cardholder's app would, until the function that it returns is called. */
function runApp(secret) {
  let timer;
  let stopped = false;
  let code = "";
  const tick = async () => {
    const now = Date.now();
    const step = stepAt(now);
    code = await codeOf(secret, step);
    if (stopped) return;
    const used = step === usedStep;
    const seconds = secondsLeft(now);
    $("app-code").textContent = `${code.slice(0, 3)} ${code.slice(3)}`;
    $("app-code").classList.toggle("used", used);
    $("app-left").textContent = used
      ? `Used. The next comes in ${seconds} s`
      : `Changes in ${seconds} s`;
    $("app-bar").style.setProperty("--left", String(seconds / 30));
    $("use-code").disabled = used || $("code-input").disabled;
    timer = setTimeout(tick, 1_000 - (now % 1_000));
  };
  $("use-code").onclick = () => {
    $("code-input").value = code;
    tell("");
    $("code-input").focus();
  };
  tick();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
