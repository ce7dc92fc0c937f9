// What the parts of the page share: its elements, its words, and the shop's backend.

export const NETWORKS = {
  visa: "Visa",
  mastercard: "Mastercard",
  amex: "American Express",
  discover: "Discover",
  jcb: "JCB",
  unionpay: "UnionPay",
  diners: "Diners Club",
};

export const $ = (id) => document.getElementById(id);

export function el(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...children);
  return element;
}

/** `PENDING_ACTIVATION` to `Pending activation`. */
export function words(constant) {
  const text = String(constant).replaceAll("_", " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function cardName(card) {
  return `${NETWORKS[card.network] ?? "Card"} ending in ${card.last_four}`;
}

/** By which of Cardveil's APIs the backend asks. */
export const api = () => document.querySelector("input[name=api]:checked").value;

/** Asks the backend about a card: `{body, date}`. Throws `{code, title, detail, retry_after?}` when it refuses. */
export async function ask(card, path, { method = "POST", body, signal } = {}) {
  const address = `/api/cards/${encodeURIComponent(card.card_no)}/${path}`;
  let response;
  try {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    response = await fetch(address, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw {
      code: "unavailable",
      title: "The shop could not be reached",
      detail: "Check your connection and try again.",
    };
  }
  const answer = await response.json().catch(() => undefined);
  if (!response.ok || answer === undefined) {
    throw (
      answer?.error ?? {
        code: "unavailable",
        title: "The shop could not answer",
        detail: "Try again in a moment.",
      }
    );
  }
  return { body: answer, date: response.headers.get("Date") };
}
