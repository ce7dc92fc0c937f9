import { connect, hello } from "@cardveil/protocol";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { readConfig } from "../src/config.ts";
import { awaitConnection, type Connection } from "../src/connect.ts";

const ORIGINS = ["https://shop.example", "https://app.example"];
const NONCE = "3e9f1f0e-7a57-4c9e-8a50-0d8d4b1c2f11";

let parent: { postMessage: ReturnType<typeof vi.fn> };
let frame: EventTarget & { parent: unknown; location: { ancestorOrigins?: string[] } };

beforeEach(() => {
  parent = { postMessage: vi.fn() };
  frame = Object.assign(new EventTarget(), { parent, location: {} });
});

const start = () => awaitConnection(ORIGINS, frame as unknown as Window);

function say(
  parts: { origin?: string; source?: unknown; data?: unknown; ports?: unknown[] } = {},
): void {
  const event = new Event("message");
  Object.assign(event, {
    origin: ORIGINS[0],
    source: parent,
    data: connect(NONCE),
    ports: ["port"],
    ...parts,
  });
  frame.dispatchEvent(event);
}

it("says hello to the registered origins alone, each by name", () => {
  void start();
  expect(parent.postMessage.mock.calls).toEqual(ORIGINS.map((origin) => [hello(), origin]));
});

it("says hello to the real parent alone where the browser tells which it is", () => {
  frame.location.ancestorOrigins = ["https://app.example", "https://outer.example"];
  void start();
  expect(parent.postMessage.mock.calls).toEqual([[hello(), "https://app.example"]]);
});

it("connects once, to its parent, from a registered origin, in a known version", async () => {
  const connected = vi.fn<(connection: Connection) => void>();
  const connection = start().then(connected);
  for (const wrong of [
    { origin: "https://evil.example" },
    { origin: "https://shop.example.evil.example" },
    { origin: "null" },
    { source: {} },
    { source: null },
    { data: { ...connect(NONCE), cardveil: 2 } },
    { data: hello() },
    { data: "connect" },
    { ports: [] },
  ]) {
    say(wrong);
  }
  await Promise.resolve();
  expect(connected).not.toHaveBeenCalled();
  say();
  say({ ports: ["another port"] });
  await connection;
  expect(connected.mock.calls).toEqual([[{ port: "port", nonce: NONCE }]]);
});

it("reads its configuration and takes no origin that is none", async () => {
  const script = document.createElement("script");
  script.type = "application/json";
  script.id = "cardveil-config";
  const origins = [
    "https://shop.example",
    "capacitor://localhost",
    "*",
    "https://*.example",
    "https://shop.example/path",
    "null",
    "",
  ];
  script.textContent = JSON.stringify({
    embed: "emb_1",
    origins,
    copy_cvv: "yes",
    words: { lang: "en" },
    fonts: [],
    designs: [],
  });
  document.body.append(script);
  expect(await readConfig(document)).toEqual({
    embed: "emb_1",
    origins: ["https://shop.example", "capacitor://localhost"],
    copyCvv: false,
    transparent: false,
    words: { lang: "en" },
    asked: "en",
    fonts: [],
    designs: [],
  });
});

describe("the words of a document that links them", () => {
  const linked = () => {
    document.body.innerHTML = `<script type="application/json" id="cardveil-config">{"embed":"emb_1","origins":[],"words":"/embed/assets/words-de-0.json","fonts":[],"designs":[]}</script>`;
    return readConfig(document);
  };

  it("are fetched", async () => {
    const fetch = vi.fn(async () => new Response('{"lang":"de"}'));
    vi.stubGlobal("fetch", fetch);
    expect(await linked()).toMatchObject({ words: { lang: "de" } });
    expect(fetch.mock.calls).toEqual([["/embed/assets/words-de-0.json"]]);
  });

  it("are not waited for before the page hears of its frame, which could load before they come", async () => {
    const page = { postMessage: vi.fn() };
    const parent = vi
      .spyOn(window, "parent", "get")
      .mockReturnValue(page as unknown as Window & typeof globalThis);
    vi.stubGlobal("fetch", () => new Promise(() => {}));
    document.body.innerHTML = `<script type="application/json" id="cardveil-config">{"embed":"emb_1","origins":["https://shop.example"],"words":"/embed/assets/words-de-0.json","fonts":[],"designs":[]}</script>`;
    void readConfig(document);
    expect(page.postMessage.mock.calls).toEqual([[hello(), "https://shop.example"]]);
    parent.mockRestore();
  });

  it.each([
    ["not there", async () => new Response("", { status: 404 })],
    ["cut off", async () => new Response('{"la')],
    ["out of reach", async () => Promise.reject(new TypeError())],
  ])("make the document load in one piece when they are %s", async (_, fetch) => {
    vi.stubGlobal("fetch", fetch);
    const replace = vi.fn();
    vi.stubGlobal("location", { search: "?as=part&lang=de", replace });
    void linked();
    await vi.waitFor(() => expect(replace.mock.calls).toEqual([["?whole=true&as=part&lang=de"]]));
  });
});

it("spends no token before the style is there: a document without one loads again in one piece", async () => {
  document.body.innerHTML = `<script type="application/json" id="cardveil-config">{"embed":"emb_1","origins":[],"words":{"lang":"en"},"fonts":[],"designs":[]}</script>`;
  await import("../src/entry/boot.ts");
  const read = vi.fn();
  const reading = readConfig(document).then(read);
  const [preload, style] = [document.createElement("link"), document.createElement("link")];
  [preload.rel, style.rel] = ["preload", "stylesheet"];
  document.head.append(preload, style);
  preload.dispatchEvent(new Event("load"));
  await new Promise((done) => setTimeout(done));
  expect(read).not.toHaveBeenCalled();
  style.dispatchEvent(new Event("load"));
  await reading;
  delete window.cardveilStyled;
});
