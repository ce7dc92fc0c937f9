// The page of a partner's shop. It asks its own backend for a client token, hands that to Cardveil's SDK,
// and hears what happened. It never holds card data: that stays in the frame, which is another site.

import { showApp } from "./app.js";
import { $, NETWORKS, api, ask, cardName, el, words } from "./page.js";
import { openWallet } from "./wallet.js";

const DOUBLE_CLICK_MS = 500;
/** What the shop knows better than the answer, which is the same for all of them. */
const NOT_NOW = {
  suspended: "It is frozen. Unfreeze it, then open it again.",
  unactivated: "It is not activated yet. Activate it first.",
  pending: "It is still being made. Try again when it is ready.",
  terminated: "It was closed. Pick another card.",
  replaced: "Another card has taken its place. Pick that one.",
  failed: "It could not be made. Ask your card programme.",
};
const EVENTS = ["ready", "revealed", "hidden", "copied", "expired", "warning", "error"];

let shop; // what GET /api/cards answered
let chosen; // one of shop.cards
let shown; // the SDK's card, while one is mounted
let showing; // aborts what a click on "Show my card" began
let shownAt = -Infinity;

start().catch((error) => {
  console.error(error);
  tell("The shop could not be reached", "Reload the page to try again.");
});

async function start() {
  const response = await fetch("/api/cards");
  if (!response.ok) throw new Error(`GET /api/cards: ${response.status}`);
  shop = await response.json();
  $("cards").replaceChildren(...shop.cards.map(row));
  $("choose").removeAttribute("aria-busy");
  $("choose").addEventListener("change", ({ target }) => {
    if (target.name !== "card") return;
    choose(shop.cards.find((card) => card.card_no === target.value));
    $("stage").scrollIntoView({ block: "nearest" }); // on a phone it lies below the list
  });
  $("show").addEventListener("click", show);
  $("add-to-wallet").addEventListener("click", () => openWallet(chosen));
  $("close").addEventListener("click", ({ timeStamp }) => {
    // The second click of a double click on "Show my card", in whose place it is.
    if (timeStamp - shownAt < DOUBLE_CLICK_MS) return;
    close();
    $("show").focus();
  });
  const first = shop.cards.find(isActive) ?? shop.cards[0];
  if (first !== undefined) {
    document.querySelector(`input[name=card][value="${CSS.escape(first.card_no)}"]`).checked = true;
    choose(first);
  }
}

function choose(card) {
  chosen = card;
  close();
  showApp(card);
  $("chosen").textContent = card.label ?? "Card";
  $("about").textContent = `${card.type ? `${words(card.type)} ` : ""}${cardName(card)}`;
  $("show").disabled = $("add-to-wallet").disabled = false;
  $("add-to-wallet").hidden = !card.wallets;
}

async function show() {
  const card = chosen;
  close();
  showing = new AbortController();
  const { signal } = showing;
  $("show").disabled = true;
  try {
    // The first token here, so that a refusal is told by the page; later ones when the frame asks.
    let token = await fetchToken(card);
    const { Cardveil } = await import(`${shop.clientUrl}/sdk/v1/cardveil.js`);
    if (signal.aborted) return;
    shown = Cardveil({ embed: card.embed }).card({
      appearance: { accent: "#0f5c4c", label: "Saltmarsh" },
      token: async () => {
        const ready = token ?? (await fetchToken(card));
        token = undefined;
        return ready;
      },
    });
    for (const name of EVENTS) shown.on(name, (detail) => see(name, detail));
    $("room").hidden = true;
    $("show").hidden = true;
    $("close").hidden = false;
    shown.mount("#card");
    // A card that nobody can see waits.
    $("card").scrollIntoView({ block: "nearest" });
    shownAt = performance.now();
    $("close").focus();
  } catch (error) {
    if (signal.aborted) return;
    tell(error.title ?? "Your card could not be shown", advice(error));
    if (error.title === undefined) console.error(error);
    else $("show").focus();
  } finally {
    if (showing?.signal === signal) $("show").disabled = false;
  }
}

function close() {
  showing?.abort();
  showing = undefined;
  shown?.destroy();
  shown = undefined;
  $("problem").hidden = true;
  $("room").hidden = false;
  $("show").hidden = false;
  $("show").disabled = false;
  $("close").hidden = true;
}

async function fetchToken(card) {
  return (await ask(card, `token?api=${api()}`)).body.token;
}

function advice({ code, detail, retry_after: secs }) {
  if (code === "card_not_viewable") return NOT_NOW[chosen.state.toLowerCase()] ?? detail;
  if (code === "rate_limited" && secs > 0) {
    const minutes = Math.ceil(secs / 60);
    return `Try again in ${secs < 90 ? `${secs} seconds` : `${minutes} minutes`}.`;
  }
  return detail ?? "Try again in a moment.";
}

function tell(title, detail) {
  $("problem").replaceChildren(el("strong", "", title), el("span", "", detail ?? ""));
  $("problem").hidden = false;
}

function see(name, detail) {
  const problem = () => `${detail.code}: ${detail.message}`;
  const facts = {
    revealed: () => detail.fields.join(", "),
    copied: () => detail.field,
    warning: problem,
    error: problem,
  };
  const item = el("li", "", el("code", "", name), el("span", "", facts[name]?.() ?? ""));
  item.dataset.testid = `seen-${name}`;
  $("seen").prepend(item);
  $("nothing").hidden = true;
}

function row(card) {
  const input = el("input", "");
  Object.assign(input, { type: "radio", name: "card", value: card.card_no });
  const mini = el("span", `mini ${card.network}`);
  mini.setAttribute("aria-hidden", "true");
  const text = el(
    "span",
    "text",
    el("span", "label", card.label ?? "Card"),
    el("span", "facts", `${NETWORKS[card.network] ?? "Card"} ••\u00a0${card.last_four}`),
  );
  if (card.totp_secret !== null) text.append(el("span", "shield", "Protected by a code"));
  const label = el("label", "row", input, mini, text);
  label.append(el("span", `state ${mood(card)}`, words(card.state)));
  label.dataset.testid = `card-${card.card_no}`;
  return label;
}

function isActive(card) {
  return /^active$/i.test(card.state);
}

function mood(card) {
  if (isActive(card)) return "on";
  return /^(unactivated|pending)$/i.test(card.state) ? "waiting" : "off";
}
