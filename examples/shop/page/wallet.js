// Adding a card to a wallet. This window is the cardholder's phone: it makes the phone's key, and the backend
// speaks for it. In the sandbox Cardveil plays the card network too, so the rest of a wallet card's life can
// be tried here.

import { $, api, ask, cardName, el, words } from "./page.js";

const WALLETS = { APPLE_PAY: "Apple Pay", ANDROID_PAY: "Google Pay", SAMSUNG_PAY: "Samsung Pay" };
const DEVICES = {
  "demo-phone": { name: "My phone", type: "MOBILE_PHONE" },
  "demo-watch": { name: "My watch", type: "WATCH" },
  "demo-tablet": { name: "My tablet", type: "TABLET" },
};
const REASONS = {
  card_not_active: "The card is not in use: it is frozen, closed or not ready yet.",
  wallet_not_enabled: "The card programme does not offer this wallet.",
  bin_not_enabled:
    "The card programme does not offer wallets for cards whose number begins like this one's.",
  product_not_enabled: "The card programme does not offer wallets for this kind of card.",
  token_limit_reached: "The card is in 25 wallets already. Remove it from one of them first.",
  already_on_device: "The card is in this wallet on this device already.",
};
const STATES = {
  REQUESTED: ["waiting", "To be verified"],
  ACTIVE: ["on", "Active"],
  SUSPENDED: ["off", "Suspended"],
  TERMINATED: ["gone", "Removed"],
  REQUEST_DECLINED: ["gone", "Declined"],
};
const VERBS = {
  REQUESTED: [
    ["pass", "Verify"],
    ["fail", "Fail the check"],
    ["remove", "Remove"],
  ],
  ACTIVE: [
    ["suspend", "Suspend"],
    ["remove", "Remove"],
  ],
  SUSPENDED: [
    ["resume", "Resume"],
    ["remove", "Remove"],
  ],
  TERMINATED: [],
  REQUEST_DECLINED: [],
};
const DONE = { pass: "Verified", suspend: "Suspended", resume: "In use again", remove: "Removed" };

let card;
let key; // the phone's public key
let busy = false;

export function openWallet(of) {
  card = of;
  key = undefined;
  $("wallet-about").textContent = `${card.label}, ${cardName(card)}`;
  $("wallet-list").replaceChildren();
  $("wallet-none").textContent = "Looking…";
  $("wallet-none").hidden = false;
  reset();
  $("wallet").showModal();
  list();
}

$("wallet-close").addEventListener("click", () => $("wallet").close());
$("wallet").addEventListener("click", ({ target, clientX, clientY }) => {
  // A click beside the window, on what lies behind it.
  const { left, right, top, bottom } = $("wallet").getBoundingClientRect();
  if (
    target === $("wallet") &&
    (clientX < left || clientX > right || clientY < top || clientY > bottom)
  )
    $("wallet").close();
});
$("wallet-ask").addEventListener("change", reset);
$("wallet-ask").addEventListener("submit", (event) => {
  event.preventDefault();
  alone(check);
});
$("wallet-simulate").addEventListener("submit", (event) => {
  event.preventDefault();
  alone(simulate);
});

/** One thing at a time; what does not work is told. */
async function alone(act) {
  if (busy) return;
  busy = true;
  const asked = card;
  $("wallet").setAttribute("aria-busy", "true");
  try {
    await act(() => asked === card && $("wallet").open);
  } catch (error) {
    if (asked === card)
      result("bad", error.title ?? "That did not work", [error.detail ?? "Try again in a moment."]);
    if (error.title === undefined) console.error(error);
  } finally {
    busy = false;
    $("wallet").removeAttribute("aria-busy");
  }
}

function asked() {
  const chosen = (name) => $("wallet-ask").elements[name].value;
  const device = chosen("device");
  return { wallet: chosen("wallet"), device_type: DEVICES[device].type, device_id: device };
}

async function check(isStill) {
  key ??= await makeKey();
  const body = { ...asked(), key };
  const { eligible, reasons } = (await ask(card, `wallet/check?api=${api()}`, { body })).body;
  if (!isStill()) return;
  const wallet = WALLETS[body.wallet];
  if (eligible)
    result("good", `This card can go into ${wallet}`, [
      `On ${place(body.device_id)}. Nothing speaks against it.`,
    ]);
  else
    result(
      "bad",
      `This card cannot go into ${wallet}`,
      reasons.map((reason) => REASONS[reason] ?? `${words(reason)}.`),
      reasons,
    );
  $("wallet-simulate").hidden = !eligible;
}

async function simulate(isStill) {
  const decision = $("wallet-simulate").elements.decision.value;
  const body = { ...asked(), decision };
  const token = (await ask(card, "wallet/tokens", { body })).body;
  if (!isStill()) return;
  const where = `${WALLETS[body.wallet]} on ${place(body.device_id)}`;
  $("wallet-simulate").hidden = true;
  if (token.state === "ACTIVE") result("good", "Added", [`The card is ready in ${where}.`]);
  else if (token.state === "REQUESTED")
    result("wait", "One more check", [
      "The network wants to be sure that it is you. Say below how that ends.",
    ]);
  else result("bad", "Declined", [`The network did not let the card into ${where}.`]);
  await list();
  $("wallet-tokens-title").focus();
}

async function move(token, verb) {
  const { state } = (
    await ask(card, `wallet/tokens/${encodeURIComponent(token.id)}`, { body: { do: verb } })
  ).body;
  reset();
  if (state !== "REQUEST_DECLINED") result("good", DONE[verb], [`${nameOf(token)}.`]);
  else
    result("bad", verb === "fail" ? "The check failed" : "Declined", [
      `The network did not let the card into ${nameOf(token)}.`,
    ]);
  await list();
  // The button that was pressed is gone.
  const next = document.querySelector(`#wallet-list [data-token="${CSS.escape(token.id)}"] button`);
  (next ?? $("wallet-tokens-title")).focus();
}

async function list() {
  const of = card;
  try {
    const { wallet_tokens: tokens } = (await ask(of, "wallet/tokens", { method: "GET" })).body;
    if (of !== card) return;
    $("wallet-list").replaceChildren(...tokens.map(row));
    $("wallet-none").hidden = tokens.length > 0;
    $("wallet-none").textContent = "This card is in no wallet yet.";
  } catch (error) {
    if (of === card) $("wallet-none").textContent = error.title ?? "The list could not be read.";
  }
}

function row(token) {
  const [mood, state] = STATES[token.state] ?? ["gone", words(token.state)];
  const text = el(
    "span",
    "text",
    el("span", "label", WALLETS[token.wallet] ?? words(token.wallet)),
    el("span", "facts", DEVICES[token.device_id]?.name ?? "Another device"),
  );
  const buttons = (VERBS[token.state] ?? []).map(([verb, label]) => {
    const button = el("button", "small", label);
    button.type = "button";
    button.setAttribute("aria-label", `${label}: ${nameOf(token)}`);
    button.dataset.testid = `wallet-${verb}`;
    button.addEventListener("click", () => alone(() => move(token, verb)));
    return button;
  });
  const item = el("li", mood === "gone" ? "gone" : "", text, el("span", `state ${mood}`, state));
  if (buttons.length > 0) item.append(el("span", "verbs", ...buttons));
  item.dataset.token = token.id;
  item.dataset.testid = "wallet-token";
  return item;
}

function nameOf(token) {
  return `${WALLETS[token.wallet] ?? words(token.wallet)} on ${place(token.device_id)}`;
}

function place(device) {
  return DEVICES[device] === undefined
    ? "another device"
    : DEVICES[device].name.replace("My", "my");
}

function reset() {
  $("wallet-result").replaceChildren();
  $("wallet-simulate").hidden = true;
}

/** In a live region: it is read out as it changes. */
function result(mood, title, lines, codes = []) {
  const items = lines.map((line, n) => {
    const item = el("li", "", line);
    if (codes[n] !== undefined) item.dataset.reason = codes[n];
    return item;
  });
  $("wallet-result").replaceChildren(
    el("div", `verdict ${mood}`, el("strong", "", title), el("ul", "", ...items)),
  );
}

/** As a phone's app makes its own. The private half cannot leave it. */
async function makeKey() {
  const { publicKey } = await crypto.subtle.generateKey(
    { name: "ECDH", namedCurve: "P-256" },
    false,
    ["deriveBits"],
  );
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  return { kty, crv, x, y };
}
