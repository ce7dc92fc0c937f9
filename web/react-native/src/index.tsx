/**
 * Cardveil for React Native: the page for apps, in a WebView, and the bridge to it
 * (docs/integrate/webview.md).
 *
 * **Invariant**: only the client origin is opened, and only what it says is heard.
 * **Invariant**: a token goes into the page when the page asks for one, and is kept nowhere else.
 */
import { forwardRef, useEffect, useImperativeHandle, useRef, useState } from "react";
import { AppState } from "react-native";
import { WebView, type WebViewHandle } from "react-native-webview";

export type CardveilField = "pan" | "expiry" | "cvv" | "name";

/** As the SDK's `CardAppearance`: docs/integrate/sdk.md. */
export interface CardAppearance {
  theme?: "light" | "dark" | "auto";
  accent?: string;
  radius?: number;
  font?: string;
  design?: string;
  colors?: { ink?: string; inkSoft?: string; line?: string; control?: string; panel?: string };
}

export interface CardError {
  /** One of docs/integrate/sdk-errors.md. */
  code: string;
  message: string;
  retryable: boolean;
  requestId?: string;
}

export interface CardveilCardProps {
  /** The id of an embed without origins. */
  embed: string;
  clientUrl: string;
  /** A function is called when a token is needed; a string serves once. */
  token: string | (() => string | Promise<string>);
  fields?: readonly CardveilField[];
  masked?: boolean | readonly CardveilField[];
  appearance?: CardAppearance;
  locale?: string;
  labels?: Readonly<Record<string, string>>;
  hideAfter?: number;
  copy?: boolean | readonly CardveilField[];
  /** Of the WebView; its height is the card's, unless this says another. */
  style?: object;
  onReady?: () => void;
  onRevealed?: (detail: { fields: CardveilField[] }) => void;
  onHidden?: () => void;
  onCopied?: (detail: { field: CardveilField }) => void;
  onExpired?: () => void;
  onWarning?: (warning: { code: string; message: string; field?: CardveilField }) => void;
  /** Without it, errors go to the console. The page tells the cardholder in either case. */
  onError?: (error: CardError) => void;
}

export interface CardHandle {
  /**
   * Shows the details again after they were hidden; loads a page again that could not be loaded.
   */
  reveal(): void;
  /** Clears the details from the screen and from memory. */
  hide(): void;
}

export const CardveilCard = forwardRef<CardHandle, CardveilCardProps>(
  function CardveilCard(props, ref) {
    const { embed, token, fields, masked, style } = props;
    const origin = props.clientUrl.replace(/\/+$/, "");
    const web = useRef<WebViewHandle>(null);
    const latest = useRef(props);
    latest.current = props;
    /** How far the page is; a wrong option leaves it `asking`. */
    const stage = useRef<"coming" | "asking" | "ready">("coming");
    const lost = useRef(false);
    const [height, setHeight] = useState(300);

    const say = (message: object) =>
      web.current?.injectJavaScript(`cardveil.receive(${JSON.stringify(message)}); true`);
    const ours = (url: string) => url === origin || url.startsWith(`${origin}/`);
    const fail = (error: CardError) => (latest.current.onError ?? console.error)(error);
    const lose = () => {
      if (lost.current) return;
      lost.current = true;
      fail({ code: "unavailable", message: `Cardveil: no page of ${origin}`, retryable: true });
    };

    useEffect(() => {
      const app = AppState.addEventListener("change", (state) => {
        if (state !== "active") say({ type: "hide" });
      });
      return () => app.remove();
    }, []);

    const configure = () =>
      say({
        type: "configure",
        renewable: typeof latest.current.token === "function",
        ...fixed(latest.current),
        ...live(latest.current),
      });
    const looks = JSON.stringify(live(props));
    useEffect(() => {
      if (stage.current === "asking") configure();
      if (stage.current === "ready") say({ type: "update", ...live(latest.current) });
    }, [looks]);

    useImperativeHandle(ref, () => ({
      reveal() {
        if (lost.current) web.current?.reload();
        else say({ type: "reveal" });
        lost.current = false;
      },
      hide: () => void say({ type: "hide" }),
    }));

    async function giveToken(): Promise<void> {
      const page = web.current;
      const { token } = latest.current;
      const answer = await Promise.resolve()
        .then(() => (typeof token === "function" ? token() : token))
        .then(
          (token) => ({ type: "token", token: String(token).trim() }),
          (error) => {
            console.error(error);
            return { type: "noToken" };
          },
        );
      // Not into a page that has taken the place of the one that asked.
      if (web.current === page) say(answer);
    }

    function hear(url: string, text: string): void {
      const message = ours(url) ? parsed(text) : undefined;
      const { onReady, onRevealed, onHidden, onCopied, onExpired, onWarning } = latest.current;
      const { type: _, ...detail } = message ?? {};
      switch (message?.["type"]) {
        case "hello":
          stage.current = "asking";
          lost.current = false;
          return configure();
        case "needToken":
          return void giveToken();
        case "size":
          return typeof detail["height"] === "number" ? setHeight(detail["height"]) : undefined;
        case "ready":
          stage.current = "ready";
          return onReady?.();
        case "revealed":
          return onRevealed?.(detail as unknown as Parameters<typeof onRevealed>[0]);
        case "hidden":
          return onHidden?.();
        case "copied":
          return onCopied?.(detail as unknown as Parameters<typeof onCopied>[0]);
        case "expired":
          return onExpired?.();
        case "warning":
          return onWarning?.(detail as unknown as Parameters<typeof onWarning>[0]);
        case "error":
          return fail(detail as unknown as CardError);
      }
    }

    return (
      <WebView
        // Another page for another card.
        key={JSON.stringify([origin, embed, typeof token === "string" ? token : 0, fields, masked])}
        ref={web}
        source={{ uri: `${origin}/webview/${encodeURIComponent(embed)}` }}
        originWhitelist={[origin]}
        incognito
        style={[{ height, backgroundColor: "transparent" }, style]}
        onShouldStartLoadWithRequest={({ url }) => ours(url)}
        onMessage={({ nativeEvent }) => hear(nativeEvent.url, nativeEvent.data)}
        onError={lose}
        onHttpError={lose}
      />
    );
  },
);

const FIELDS: readonly CardveilField[] = ["pan", "expiry", "cvv", "name"];
const list = (some: boolean | readonly CardveilField[]) =>
  typeof some === "boolean" ? FIELDS.filter(() => some) : some;

/** What decides on what is fetched. */
const fixed = ({ fields = FIELDS, masked = ["cvv"] }: CardveilCardProps) => ({
  fields,
  masked: list(masked),
});

/**
 * What can change while the card is there; the page's own defaults, so that what is no longer given
 * is taken back.
 */
function live({
  appearance = {},
  labels = {},
  hideAfter = 60,
  copy = ["pan"],
  locale,
}: CardveilCardProps): object {
  return {
    appearance,
    labels,
    hideAfter,
    copy: list(copy),
    ...(locale === undefined ? {} : { locale }),
  };
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const message: unknown = JSON.parse(text);
    return typeof message === "object" && message !== null
      ? (message as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
