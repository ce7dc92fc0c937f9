// The page of a partner's shop. It asks its own backend for a client token, hands that to Cardveil's SDK,
// and hears what happened. It never holds card data: that stays in the frame, which is another site.

const $ = (id) => document.getElementById(id);
const NETWORKS = { visa: "Visa", mastercard: "Mastercard", amex: "American Express", discover: "Discover", jcb: "JCB", unionpay: "UnionPay", diners: "Diners Club" };
const EVENTS = ["ready", "revealed", "hidden", "copied", "expired", "error"];

let shop; // what GET /api/cards answered
let chosen; // one of shop.cards
let shown; // the SDK's card, while one is mounted

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
  $("close").addEventListener("click", () => {
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
  $("chosen").textContent = card.label ?? "Card";
  $("about").textContent = `${card.type ? `${words(card.type)} ` : ""}${networkName(card)} ending in ${card.last_four}`;
  $("show").disabled = false;
}

async function show() {
  const card = chosen;
  close();
  $("show").disabled = true;
  try {
    // The first token here, so that a refusal is told by the page; later ones when the frame asks.
    let token = await fetchToken(card);
    const { Cardveil } = await import(`${shop.clientUrl}/sdk/v1/cardveil.js`);
    if (card !== chosen) return;
    shown = Cardveil({ embed: shop.embed }).card({
      token: async () => {
        const ready = token ?? (await fetchToken(card));
        token = undefined;
        return ready;
      },
    });
    for (const name of EVENTS) shown.on(name, (detail) => see(name, detail));
    $("placeholder").hidden = true;
    $("show").hidden = true;
    $("close").hidden = false;
    shown.mount("#card");
    $("close").focus();
  } catch (error) {
    if (card === chosen) tell(error.title ?? "Your card could not be shown", error.detail ?? "Try again in a moment.");
    if (error.title === undefined) console.error(error);
  } finally {
    $("show").disabled = false;
  }
}

function close() {
  shown?.destroy();
  shown = undefined;
  $("problem").hidden = true;
  $("placeholder").hidden = false;
  $("show").hidden = false;
  $("close").hidden = true;
}

/** Throws `{title, detail}` when the card cannot be shown. */
async function fetchToken(card) {
  const api = document.querySelector("input[name=api]:checked").value;
  const response = await fetch(`/api/cards/${encodeURIComponent(card.card_no)}/token?api=${api}`, { method: "POST" });
  const answer = await response.json().catch(() => ({}));
  if (typeof answer.token === "string") return answer.token;
  throw answer.error ?? new Error(`POST token: ${response.status}`);
}

function tell(title, detail) {
  $("problem").replaceChildren(el("strong", "", title), el("span", "", detail ?? ""));
  $("problem").hidden = false;
}

function see(name, detail) {
  const facts = { revealed: () => detail.fields.join(", "), copied: () => detail.field, error: () => `${detail.code}: ${detail.message}` };
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
  const text = el("span", "text", el("span", "label", card.label ?? "Card"), el("span", "facts", `${networkName(card)} •• ${card.last_four}`));
  const label = el("label", "row", input, mini, text);
  label.append(el("span", `state ${mood(card)}`, words(card.state)));
  label.dataset.testid = `card-${card.card_no}`;
  return label;
}

function el(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...children);
  return element;
}

function isActive(card) {
  return /^active$/i.test(card.state);
}

function mood(card) {
  if (isActive(card)) return "on";
  return /^(unactivated|pending)$/i.test(card.state) ? "waiting" : "off";
}

function networkName(card) {
  return NETWORKS[card.network] ?? "Card";
}

/** `PENDING_ACTIVATION` to `Pending activation`. */
function words(constant) {
  const text = String(constant).replaceAll("_", " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
