/**
 * The component for React Native, with WebView and AppState played by doubles. What it says is held
 * to the protocol's own parser. Counts as a failure: a token too many, or one for a page that is
 * not ours.
 */
import { parseForFrame } from "@cardveil/protocol";
import { act, createRef, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type CardHandle, CardveilCard } from "../src/index.tsx";
import { become, listeners } from "./react-native.ts";
import { type Shown, shown } from "./react-native-webview.tsx";

const place = { embed: "emb_app", clientUrl: "https://cards.example.com/" };
const PAGE = "https://cards.example.com/webview/emb_app";
let root: Root;

beforeEach(() => {
  (globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
  shown.length = 0;
  root = createRoot(document.createElement("div"));
});
afterEach(() => act(async () => root.unmount()));

const render = (node: ReactNode) => act(async () => root.render(node));
const only = (): Shown => {
  const [view, ...more] = shown.filter(({ gone }) => !gone);
  if (view === undefined || more.length > 0) throw new Error(`${more.length + 1} pages`);
  return view;
};
const say = (message: object | string, url = PAGE) =>
  act(async () =>
    only().props.onMessage({
      nativeEvent: { url, data: typeof message === "string" ? message : JSON.stringify(message) },
    }),
  );
/** What the page was told, as its own script would be. */
const told = (view = only()) =>
  view.injected.map((script) => {
    const heard: unknown[] = [];
    new Function("cardveil", script)({ receive: (message: unknown) => heard.push(message) });
    return heard[0] as { type: string; [member: string]: unknown };
  });

it("opens the app's page, and no other", async () => {
  await render(<CardveilCard {...place} token="cvt_test_1" />);
  const { props } = only();
  expect(props).toMatchObject({
    source: { uri: PAGE },
    originWhitelist: ["https://cards.example.com"],
    incognito: true,
  });
  expect(
    [
      "https://cards.example.com/x",
      "https://cards.example.com.evil.example/",
      "https://evil.example",
      "about:blank",
    ].map((url) => props.onShouldStartLoadWithRequest({ url })),
  ).toEqual([true, false, false, false]);
});

it("says what to show, in words that the page takes, and brings a token when it is asked", async () => {
  const token = vi.fn(async () => " cvt_test_1\n");
  await render(
    <CardveilCard
      {...place}
      token={token}
      fields={["pan", "cvv"]}
      masked
      copy={false}
      appearance={{ theme: "dark" }}
      locale="de"
      labels={{ hide: "</script>\u2028" }}
    />,
  );
  expect(told()).toEqual([]);
  await say({ type: "hello", cardveil: 1 });
  expect(token).not.toHaveBeenCalled();
  await say({ type: "needToken" });
  expect(told()[0]).toEqual({
    type: "configure",
    renewable: true,
    fields: ["pan", "cvv"],
    masked: ["pan", "expiry", "cvv", "name"],
    appearance: { theme: "dark" },
    labels: { hide: "</script>\u2028" },
    hideAfter: 60,
    copy: [],
    locale: "de",
  });
  expect(parseForFrame(told()[0])).toMatchObject({ type: "configure" });
  expect(told()[1]).toEqual({ type: "token", token: "cvt_test_1" });
  expect(token).toHaveBeenCalledTimes(1);
});

it("hears nothing from another page, and nothing that is no message", async () => {
  const token = vi.fn(() => "cvt_test_1");
  await render(<CardveilCard {...place} token={token} />);
  for (const url of [
    "https://evil.example/",
    "https://cards.example.com.evil.example/webview/emb_app",
    "about:blank",
    "",
  ])
    await say({ type: "needToken" }, url);
  for (const text of ["", "null", "7", "{", '"needToken"', "[]"]) await say(text);
  expect(token).not.toHaveBeenCalled();
  expect(told()).toEqual([]);
});

it("tells the page that there is no token, where the app's function fails", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  await render(
    <CardveilCard
      {...place}
      token={() => {
        throw new Error("no");
      }}
    />,
  );
  await say({ type: "needToken" });
  expect(told()).toEqual([{ type: "noToken" }]);
});

it("gives a late token to no page but the one that asked", async () => {
  let give = (_: string) => {};
  await render(
    <CardveilCard {...place} token={() => new Promise((done) => (give = done))} fields={["pan"]} />,
  );
  await say({ type: "needToken" });
  await render(<CardveilCard {...place} token={() => "t"} fields={["cvv"]} />);
  await act(async () => give("cvt_test_1"));
  expect(shown.flatMap((view) => told(view))).toEqual([]);
});

it("tells the app what happened", async () => {
  const heard: unknown[] = [];
  const on = (name: string) => (detail?: unknown) => heard.push([name, detail]);
  await render(
    <CardveilCard
      {...place}
      token="t"
      onReady={on("ready")}
      onRevealed={on("revealed")}
      onHidden={on("hidden")}
      onCopied={on("copied")}
      onExpired={on("expired")}
      onWarning={on("warning")}
      onError={on("error")}
    />,
  );
  const error = { code: "token_refused", message: "m", retryable: false, requestId: "req_1" };
  for (const message of [
    { type: "ready", title: "Your card" },
    { type: "revealed", fields: ["pan"] },
    { type: "copied", field: "pan" },
    { type: "warning", code: "copy_failed", message: "m" },
    { type: "expired" },
    { type: "hidden" },
    { type: "error", ...error },
  ])
    await say(message);
  expect(heard).toEqual([
    ["ready", undefined],
    ["revealed", { fields: ["pan"] }],
    ["copied", { field: "pan" }],
    ["warning", { code: "copy_failed", message: "m" }],
    ["expired", undefined],
    ["hidden", undefined],
    ["error", error],
  ]);
});

it("takes the page's height", async () => {
  await render(<CardveilCard {...place} token="t" />);
  await say({ type: "size", height: 412 });
  expect(only().props.style).toEqual([{ height: 412, backgroundColor: "transparent" }, undefined]);
});

it("changes looks and words without another page or token, and takes back what is no longer given", async () => {
  const token = vi.fn(() => "cvt_test_1");
  await render(<CardveilCard {...place} token={token} />);
  await say({ type: "hello", cardveil: 1 });
  await say({ type: "ready", title: "Your card" });
  await render(
    <CardveilCard {...place} token={() => token()} appearance={{ theme: "dark" }} locale="de" />,
  );
  await render(<CardveilCard {...place} token={() => token()} locale="de" />);
  const updates = told().slice(1);
  expect(updates.map(({ appearance }) => appearance)).toEqual([{ theme: "dark" }, {}]);
  for (const update of updates)
    expect(parseForFrame(update)).toMatchObject({ type: "update", locale: "de", hideAfter: 60 });
  expect(shown).toHaveLength(1);
  expect(token).not.toHaveBeenCalled();
});

it("says what to show once more where an option was wrong", async () => {
  await render(<CardveilCard {...place} token="t" locale="english!" onError={() => {}} />);
  await say({ type: "hello", cardveil: 1 });
  await say({ type: "error", code: "bad_option", message: "locale", retryable: true });
  await render(<CardveilCard {...place} token="t" locale="en" onError={() => {}} />);
  expect(told().map(({ type, locale }) => [type, locale])).toEqual([
    ["configure", "english!"],
    ["configure", "en"],
  ]);
});

it.each([
  ["embed", { embed: "emb_2" }],
  ["fields", { fields: ["pan"] as const }],
  ["masked", { masked: false }],
  ["token", { token: "cvt_test_2" }],
])("opens another page for another %s", async (_, change) => {
  await render(<CardveilCard {...place} token="cvt_test_1" />);
  await render(<CardveilCard {...place} token="cvt_test_1" {...change} />);
  expect(shown.map(({ gone }) => gone)).toEqual([true, false]);
});

it("hides when the app goes to the background, and by its ref", async () => {
  const ref = createRef<CardHandle>();
  await render(<CardveilCard {...place} token="t" ref={ref} />);
  become("inactive");
  become("active");
  ref.current?.hide();
  ref.current?.reveal();
  expect(told().map(({ type }) => type)).toEqual(["hide", "hide", "reveal"]);
  await render(null);
  expect(listeners()).toBe(0);
});

it("tells once that no page came, and loads it again by reveal", async () => {
  const onError = vi.fn();
  const ref = createRef<CardHandle>();
  await render(<CardveilCard {...place} token="t" ref={ref} onError={onError} />);
  only().props.onHttpError();
  only().props.onError();
  expect(onError).toHaveBeenCalledTimes(1);
  expect(onError).toHaveBeenCalledWith(
    expect.objectContaining({ code: "unavailable", retryable: true }),
  );
  ref.current?.reveal();
  expect(only().reloads).toBe(1);
  expect(told()).toEqual([]);
});
