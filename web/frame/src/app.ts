/**
 * The way between the page of an app's WebView and the app, which the app has put into the page.
 * JSON goes over it, in the messages of the protocol; no port, for an app has none.
 *
 * **Invariant**: what goes to the app is `ForPage`, which cannot hold card data: not a digit
 * crosses the bridge.
 *
 * To add a kind of WebView: its case in `findApp`, and its guide in docs/integrate/webview.md.
 */
import {
  type Configuration,
  FIELDS,
  type ForFrame,
  type ForPage,
  HIDE_AFTER_SECS,
  parseForFrame,
  VERSION,
} from "@cardveil/protocol";
import { Card, type Surroundings } from "./card.ts";
import type { Config } from "./config.ts";
import { Failure } from "./failure.ts";
import type { Stage } from "./stage.ts";

/** How long an app may take to say what to show, and to bring a token. */
const CONFIGURE_TIMEOUT_MS = 10_000;
const TOKEN_TIMEOUT_MS = 30_000;

/** What each kind of WebView puts into its page. */
export interface Surface {
  /** WKWebView, and WebKitGTK. */
  webkit?: { messageHandlers?: { cardveilApp?: Poster } };
  /**
   * Android's WebMessageListener and Flutter's JavaScriptChannel. Android's hears answers by
   * `onmessage`.
   */
  cardveilApp?: Poster & { onmessage?: ((event: { data: unknown }) => void) | null };
  /** react-native-webview. */
  ReactNativeWebView?: Poster;
  /** Ours: what the app calls, where it can run a script in its page. */
  cardveil?: { receive(message: unknown): void };
}

interface Poster {
  postMessage(text: string): void;
}

/** What the page does with a card that has begun, besides showing it. */
export type Begun = (card: Card, settings: Configuration, post: (message: ForPage) => void) => void;

/** Shows the card that the app asks for, from hello to the end. */
export function serveApp(
  surface: Surface,
  config: Config,
  around: Surroundings,
  stage: Stage,
  begun: Begun,
): void {
  let card: Card | undefined;
  let stopWaiting = () => {};

  const app = findApp(surface, (message) => {
    if (card === undefined) configure(message);
    else obey(card, message);
  });
  if (app === undefined) return fail("origin_refused");
  stopWaiting = around.timer(CONFIGURE_TIMEOUT_MS, () => fail("token_failed"));
  app.post({ cardveil: VERSION, type: "hello" });

  function configure(message: unknown): void {
    if (
      typeof message !== "object" ||
      message === null ||
      !("type" in message) ||
      message.type !== "configure"
    )
      return;
    const settings = readConfigure(message, config.words.lang);
    if ("wrong" in settings) return refuse(settings.wrong);
    stopWaiting();
    card = new Card(config, around, stage, post);
    begun(card, settings, post);
    card.receive({ type: "configure", ...settings });
    app?.post({ type: "ready", title: card.title });
    card.reveal();
  }

  function refuse(option: string): void {
    post({
      type: "error",
      code: "bad_option",
      message: `The option "${option}" is unknown, or not what it must be.`,
      retryable: true,
    });
  }

  function obey(card: Card, said: unknown): void {
    const message = parseForFrame(said);
    const wrong = wrongChange(said);
    if (wrong !== undefined) return refuse(wrong);
    if (message?.type === "token" || message?.type === "noToken") stopWaiting();
    if (message !== undefined) card.receive(message);
  }

  function post(message: ForPage): void {
    if (message.type === "needToken") {
      // Hidden and asked for again while it waited: the new question has its own thirty seconds.
      stopWaiting();
      stopWaiting = around.timer(TOKEN_TIMEOUT_MS, () => card?.receive({ type: "noToken" }));
    }
    app?.post(message);
  }

  function fail(code: "origin_refused" | "token_failed"): void {
    stage.render({ at: "failed", failure: new Failure(code), retryable: false, secs: 0 });
  }
}

interface App {
  post(message: object): void;
}

/** The app around this page, if there is one; what it says is heard from now on. */
function findApp(surface: Surface, heard: (message: unknown) => void): App | undefined {
  const poster =
    surface.webkit?.messageHandlers?.cardveilApp ??
    surface.cardveilApp ??
    surface.ReactNativeWebView;
  if (poster === undefined) return undefined;
  const receive = (message: unknown) =>
    heard(typeof message === "string" ? parsed(message) : message);
  Object.defineProperty(surface, "cardveil", { value: Object.freeze({ receive }) });
  if (surface.cardveilApp !== undefined)
    surface.cardveilApp.onmessage = ({ data }) => receive(data);
  return { post: (message) => poster.postMessage(JSON.stringify(message)) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What an app leaves out. They are the SDK's own defaults. */
const defaults = (locale: string): Configuration => ({
  fields: [...FIELDS],
  appearance: { theme: "auto" },
  locale,
  hideAfter: HIDE_AFTER_SECS.default,
  copy: ["pan"],
  masked: ["cvv"],
  labels: {},
  renewable: true,
});

/** How the card is to be shown, or which option is wrong. */
function readConfigure(data: object, locale: string): Configuration | { wrong: string } {
  const usual = defaults(locale);
  const { type, ...said } = Object.fromEntries(Object.entries(data));
  const parse = (options: object): ForFrame | undefined =>
    parseForFrame({ ...usual, ...options, type });
  const wrong = Object.keys(said).find(
    (option) => !Object.hasOwn(usual, option) || parse({ [option]: said[option] }) === undefined,
  );
  if (wrong !== undefined) return { wrong };
  const configuration = parse(said);
  return configuration?.type === "configure" ? configuration : { wrong: "type" };
}

/** Of an `update`: the option that no app may change, or that is not what it must be. */
function wrongChange(data: unknown): string | undefined {
  if (typeof data !== "object" || data === null || !("type" in data) || data.type !== "update")
    return undefined;
  const { type, ...said } = Object.fromEntries(Object.entries(data));
  const parsed = (option: string) => parseForFrame({ type, [option]: said[option] }) ?? {};
  return Object.keys(said).find((option) => !Object.hasOwn(parsed(option), option));
}
