/** In the place of react-native-webview, which needs a phone: it remembers what it was given. */
import { forwardRef, useEffect, useImperativeHandle } from "react";
import type { WebViewHandle, WebViewProps } from "react-native-webview";

export interface Shown {
  props: WebViewProps;
  injected: string[];
  reloads: number;
  gone: boolean;
}
export const shown: Shown[] = [];

export const WebView = forwardRef<WebViewHandle, WebViewProps>(function WebView(props, ref) {
  const [view] = useStateOnce();
  view.props = props;
  useImperativeHandle(
    ref,
    () => ({
      injectJavaScript: (script) => void view.injected.push(script),
      reload: () => void (view.reloads += 1),
    }),
    [view],
  );
  useEffect(() => {
    shown.push(view);
    return () => void (view.gone = true);
  }, [view]);
  return null;
});

import { useState } from "react";
const useStateOnce = () =>
  useState<Shown>(() => ({ props: {} as WebViewProps, injected: [], reloads: 0, gone: false }));
