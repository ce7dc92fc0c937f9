/**
 * What the gallery shows: every look, state and failure of the frame, drawn by the frame's own
 * code. The card is the schemes' test card.
 *
 * To add one: a row in `SECTIONS`.
 */
import { type Appearance, type ErrorCode, type Field, FIELDS, type Part } from "@cardveil/protocol";
import type { RegisteredDesign } from "../../frame/src/design.ts";
import type { Drawing } from "../../frame/src/siblings.ts";
import type { FieldState, Scene } from "../../frame/src/stage.ts";
import type { Secrets } from "../../frame/src/secrets.ts";

export type Specimen = { title: string; lang?: string; appearance?: Partial<Appearance> } & (
  | { scene: () => Scene; copied?: boolean; note?: "fieldGone" }
  | { part: Part; drawing: () => Drawing; transparent?: boolean }
  | { failure: ErrorCode; retryable: boolean; waits?: boolean; requestId?: string }
  /** What the SDK says when no frame of ours can. */
  | { notice: true }
);

const VISA = { lastFour: "1111", network: "visa" };
const secrets = (pan = "4111111111111111"): Secrets => ({
  pan,
  expiry: { month: "12", year: "2030" },
  cvv: "123",
  name: "A CARDHOLDER",
});
const states = (changes: Partial<Record<Field, FieldState>> = {}) =>
  ({ pan: "shown", expiry: "shown", cvv: "masked", name: "shown", ...changes }) as const;
const shown =
  (more: Partial<Extract<Scene, { at: "shown" }>> = {}) =>
  (): Scene => ({
    at: "shown",
    ...VISA,
    secrets: secrets(),
    states: states(),
    masked: ["cvv"],
    copy: ["pan"],
    secs: 60,
    ...more,
  });
const hidden =
  (because: "asked" | "time" | "left", showable = true) =>
  (): Scene => ({ at: "hidden", ...VISA, fields: FIELDS, because, showable });

const QUIET: Drawing = {
  at: "shown",
  ...VISA,
  masked: false,
  enabled: true,
  secs: 60,
  alert: false,
};
const drawing = (more: Partial<Drawing>) => (): Drawing => ({ ...QUIET, ...more });

const looks: [string, Partial<Appearance>][] = [
  ["as the page is", {}],
  ["light", { theme: "light" }],
  ["dark", { theme: "dark" }],
  ["a dark accent", { accent: "#7a1f4b" }],
  ["a light accent", { accent: "#ffd27a" }],
  ["an accent between", { accent: "#2f8f83" }],
  ["a programme's name", { accent: "#0f5c4c", label: "Saltmarsh" }],
  ["square corners", { radius: 0 }],
  ["round corners", { radius: 32 }],
  ["a design, light", { theme: "light", design: "tideline" }],
  ["a design, dark", { theme: "dark", design: "tideline" }],
  ["a design and a name", { design: "tideline", label: "Saltmarsh" }],
];

/** The demo's, without a mark: marks are trademarks. */
export const DESIGNS: RegisteredDesign[] = [
  {
    name: "tideline",
    light: {
      ink: "#12323a",
      veil: "#ffffff5c",
      art: "/gallery/tideline.svg",
      logo: "/gallery/tideline-logo.svg",
    },
    dark: {
      ink: "#f1f6f3",
      veil: "#0000005c",
      art: "/gallery/tideline-dark.svg",
      logo: "/gallery/tideline-logo-dark.svg",
    },
  },
];
const languages = {
  ar: "العربية",
  de: "Deutsch",
  en: "English",
  es: "Español",
  fr: "Français",
  ja: "日本語",
  pt: "Português",
  zh: "中文",
};

const failures: ErrorCode[] = [
  "token_refused",
  "field_unavailable",
  "origin_refused",
  "rate_limited",
  "unavailable",
  "offline",
  "timeout",
  "unsupported",
  "invalid_request",
  "header_mismatch",
  "token_failed",
  "internal",
];
const helped = new Set<ErrorCode>(["rate_limited", "unavailable", "offline", "timeout"]);

export const SECTIONS: Record<string, { title: string; specimens: Specimen[] }> = {
  looks: {
    title: "Looks",
    specimens: looks.map(([title, appearance]) => ({ title, appearance, scene: shown() })),
  },
  languages: {
    title: "Languages",
    specimens: Object.entries(languages).map(([lang, title]) => ({ title, lang, scene: shown() })),
  },
  states: {
    title: "States",
    specimens: [
      {
        title: "loading",
        scene: () => ({ at: "loading", fields: FIELDS, lastFour: "", network: "" }),
      },
      { title: "shown, the CVV masked", scene: shown() },
      {
        title: "shown, all of it",
        scene: shown({ states: states({ cvv: "shown" }), masked: [], copy: ["pan", "cvv"] }),
      },
      { title: "shown, the CVV by a click", scene: shown({ states: states({ cvv: "shown" }) }) },
      { title: "the CVV on its way", scene: shown({ states: states({ cvv: "loading" }) }) },
      {
        title: "the CVV can no longer be shown",
        scene: shown({ states: states({ cvv: "gone" }) }),
        note: "fieldGone",
      },
      {
        title: "every field masked, and nothing asked for",
        scene: shown({
          lastFour: "",
          network: "",
          secs: 0,
          secrets: {},
          states: states({ pan: "masked", expiry: "masked", name: "masked" }),
          masked: ["pan", "expiry", "cvv", "name"],
        }),
      },
      {
        title: "every field shown by a click",
        scene: shown({
          states: states({ cvv: "shown" }),
          masked: ["pan", "expiry", "cvv", "name"],
          copy: ["pan", "expiry", "cvv", "name"],
        }),
      },
      { title: "the number alone", scene: shown({ states: { pan: "shown" } }) },
      { title: "copied", scene: shown(), copied: true },
      { title: "not copied", scene: shown(), copied: false },
      {
        title: "15 digits",
        scene: shown({ secrets: secrets("378282246310005"), lastFour: "0005", network: "amex" }),
      },
      {
        title: "19 digits",
        scene: shown({
          secrets: secrets("6304000000000000000"),
          lastFour: "0000",
          network: "maestro",
        }),
      },
      {
        title: "a long name",
        scene: shown({
          secrets: {
            ...secrets(),
            name: "MAXIMILIANA FEATHERSTONEHAUGH-CHOLMONDELEY OF THE GREATER MARSHLANDS",
          },
        }),
      },
      {
        title: "a name of 30 characters",
        scene: shown({ secrets: { ...secrets(), name: "ALEXANDRA CONSTANTINOPOLOS-MAY" } }),
      },
      { title: "hidden, as asked", scene: hidden("asked") },
      { title: "hidden by time", scene: hidden("time") },
      { title: "hidden by leaving", scene: hidden("left") },
      { title: "hidden for good", scene: hidden("time", false) },
    ],
  },
  parts: {
    title: "Parts",
    specimens: [
      {
        title: "pan",
        part: "pan",
        drawing: drawing({ value: "4111111111111111", state: "shown" }),
      },
      {
        title: "pan, loading",
        part: "pan",
        drawing: drawing({ at: "loading", lastFour: "", network: "" }),
      },
      { title: "pan, hidden", part: "pan", drawing: drawing({ at: "hidden" }) },
      {
        title: "pan, set large",
        part: "pan",
        drawing: drawing({ value: "4111111111111111", state: "shown" }),
        appearance: { text: { fontSize: 24, fontWeight: 700, letterSpacing: 0.05 } },
      },
      { title: "pan, masked", part: "pan", drawing: drawing({ state: "masked", masked: true }) },
      {
        title: "pan, failed",
        part: "pan",
        drawing: drawing({
          at: "failed",
          says: "You are offline. Check your internet connection, then try again.",
          alert: true,
        }),
      },
      { title: "expiry", part: "expiry", drawing: drawing({ value: "12/30", state: "shown" }) },
      { title: "cvv, masked", part: "cvv", drawing: drawing({ state: "masked", masked: true }) },
      {
        title: "cvv, shown by a click",
        part: "cvv",
        drawing: drawing({ value: "123", state: "shown", masked: true }),
      },
      {
        title: "cvv, at the end of its line",
        part: "cvv",
        drawing: drawing({ value: "123", state: "shown" }),
        appearance: { text: { textAlign: "end" } },
      },
      { title: "name", part: "name", drawing: drawing({ value: "A CARDHOLDER", state: "shown" }) },
      {
        title: "copy-pan",
        part: "copy-pan",
        drawing: drawing({ value: "4111111111111111", state: "shown" }),
      },
      {
        title: "copy-pan, copied",
        part: "copy-pan",
        drawing: drawing({ value: "4111111111111111", state: "shown", copied: true }),
      },
      {
        title: "copy-pan, nothing to copy",
        part: "copy-pan",
        drawing: drawing({ at: "hidden", enabled: false }),
      },
      { title: "toggle, shown", part: "toggle", drawing: drawing({}) },
      { title: "toggle, hidden", part: "toggle", drawing: drawing({ at: "hidden" }) },
      { title: "toggle, failed", part: "toggle", drawing: drawing({ at: "failed", secs: 0 }) },
      { title: "countdown", part: "countdown", drawing: drawing({}) },
    ],
  },
  failures: {
    title: "Failures",
    specimens: [
      ...failures.map((failure): Specimen => ({
        title: failure,
        failure,
        retryable: helped.has(failure),
      })),
      { title: "rate_limited, with a wait", failure: "rate_limited", retryable: true, waits: true },
      {
        title: "unavailable, with a reference",
        failure: "unavailable",
        retryable: true,
        requestId: "req_4v1ZqT8nA0",
      },
      { title: "frame_timeout, frame_blocked, csp_blocked, embed_unknown", notice: true },
    ],
  },
};
