import type { ErrorCode, Label } from "@cardveil/protocol";

/** A title and what to do next. */
export type Sentence = readonly [title: string, advice: string];
/**
 * The failures that the frame itself can meet and has words for; the others belong to the SDK, or to
 * what asks for a second factor.
 */
export type FrameError = Exclude<
  ErrorCode,
  | "mfa_required"
  | "factor_unavailable"
  | "frame_timeout"
  | "frame_blocked"
  | "csp_blocked"
  | "embed_unknown"
  | "bad_option"
>;

export interface Words {
  labels: Record<Label, string>;
  errors: Record<FrameError, Sentence>;
}

export const en: Words = {
  labels: {
    card: "Your card",
    number: "Card number",
    numberEnding: "Card number ending in {digits}",
    expiry: "Expiry",
    cvv: "CVV",
    name: "Cardholder",
    copyField: "Copy {field}",
    copied: "Copied",
    copyFailed: "Copying did not work. Select the digits and copy them by hand.",
    showField: "Show {field}",
    hideField: "Hide {field}",
    showShort: "Show",
    show: "Show card details",
    hide: "Hide",
    retry: "Try again",
    retryIn: "Try again in {seconds} s",
    hidesIn: "Hides in {seconds} s",
    loading: "Loading card details",
    shown: "Card details shown",
    hidden: "Card details hidden",
    hiddenByTime: "Hidden to keep your card safe.",
    hiddenByLeaving: "Hidden while you were away.",
    fieldGone: "{field} can no longer be shown. Open your card again to see it.",
    fieldAbsent: "{field} is not available on this card.",
    covered: "Something on this page covers your card. It appears when nothing lies over it.",
    reference: "Reference: {id}",
  },
  errors: {
    token_refused: [
      "Your card can no longer be opened from here",
      "The access has expired or was already used. Go back and open your card again.",
    ],
    field_unavailable: [
      "These details are not available",
      "Your card does not have them, or this page may not show them. Please tell the support of this site.",
    ],
    origin_refused: [
      "This page may not show your card",
      "It is not registered to show cards. Please tell the support of this site.",
    ],
    rate_limited: ["Too many attempts", "Wait a moment, then try again."],
    unavailable: [
      "Your card cannot be shown right now",
      "Nothing is wrong with your card. Try again in a moment.",
    ],
    offline: ["You are offline", "Check your internet connection, then try again."],
    timeout: ["This is taking too long", "Check your internet connection, then try again."],
    unsupported: [
      "This browser cannot show your card",
      "Update your browser, or open this page in another one.",
    ],
    invalid_request: [
      "This page is not set up correctly",
      "It asked for your card in a way we do not understand. Please tell the support of this site.",
    ],
    header_mismatch: [
      "We did not show your card, to keep it safe",
      "The answer did not match the request. Go back and open your card again. If it happens twice, tell the support of this site.",
    ],
    token_failed: [
      "Your card could not be opened",
      "This page was not given access to it. Go back and open your card again.",
    ],
    internal: ["Something went wrong", "Go back and open your card again."],
  },
};
