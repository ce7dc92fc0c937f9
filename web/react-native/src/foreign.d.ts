/** Of other people's packages, which an app brings: what is used of them, and no more. */
declare module "react-native" {
  export const AppState: {
    addEventListener(type: "change", heard: (state: string) => void): { remove(): void };
  };
}

declare module "react-native-webview" {
  import type { ComponentType, RefAttributes } from "react";

  export interface WebViewHandle {
    injectJavaScript(script: string): void;
    reload(): void;
  }
  export interface WebViewProps {
    source: { uri: string };
    originWhitelist: string[];
    incognito: boolean;
    style?: unknown;
    onMessage(event: { nativeEvent: { data: string; url: string } }): void;
    onShouldStartLoadWithRequest(request: { url: string }): boolean;
    onError(): void;
    onHttpError(): void;
  }
  export const WebView: ComponentType<WebViewProps & RefAttributes<WebViewHandle>>;
}
