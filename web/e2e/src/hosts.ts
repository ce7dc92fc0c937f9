/**
 * Pages that a card may be put into, served as their owners would serve them. To add one: a row in
 * `HOSTS`.
 *
 * Each has the card twice: whole, and in parts.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";

export interface Host {
  name: string;
  /** Attributes of `<html>`. */
  html?: string;
  css: string;
  /** An element that lies behind the card's. */
  behind?: string;
  headers?: Record<string, string>;
  /** The page within a frame of a page of its own. */
  framed?: true;
  /** What the page's engineer has happen later, by the attribute that it gives `<html>`. */
  later?: { name: string; value: string };
}

/** Grounds, which a page's policy lets nobody paint inline. */
export const GROUNDS: Host[] = [
  { name: "white", css: "body { background: #fff }" },
  { name: "nothing said", css: "" },
  { name: "near black", css: "body { background: #111214 } p { color: #eee }" },
  { name: "a brand's colour, between", css: "body { background: #7a5cff }" },
  { name: "grey, between", css: "main { background: oklch(0.54 0 0) }" },
  {
    name: "a gradient",
    css: "body { background: linear-gradient(90deg, #fff, #000 30%, #fff 60%, #000) }",
  },
  { name: "an image", css: `body { background: #fff url("/check.svg") }` },
  {
    name: "an image of an element of its own",
    css: "main { position: relative } img { position: absolute; inset: 0; width: 100%; height: 100%; z-index: -1 }",
    behind: `<img src="/night.svg" alt="">`,
  },
  {
    name: "an image that is generated",
    css: `main { position: relative } main::before { content: ""; position: absolute; inset: 0; z-index: -1; background: url("/night.svg") 0 / 100% 100% }`,
  },
  {
    name: "a dark panel, half seen through",
    css: "main { background: rgb(0 0 0 / 0.55) } section { background: rgb(10 10 40 / 80%) }",
  },
  { name: "dark by color-scheme alone", css: "html { color-scheme: dark }" },
  { name: "as the device is", css: "html { color-scheme: light dark }" },
  {
    name: "dark, and light later",
    html: `class="dark"`,
    css: ".dark { color-scheme: dark } .dark body { background: #101418 }",
    later: { name: "class", value: "" },
  },
  {
    name: "light, and dark later, slowly",
    css: "body { background: #fff; transition: background 0.3s } [data-mode=dark] body { background: #000 }",
    later: { name: "data-mode", value: "dark" },
  },
  {
    name: "under a strict policy",
    css: "body { background: #0b1f3a }",
    headers: {
      "content-security-policy":
        "default-src 'none'; script-src 'self' {client}; style-src 'self'; connect-src 'self'; frame-src {client}; require-trusted-types-for 'script'",
    },
  },
  {
    name: "right to left, in a sandbox",
    html: `dir="rtl"`,
    css: "body { background: #101418 }",
    headers: { "content-security-policy": "sandbox allow-scripts allow-same-origin" },
  },
  {
    name: "isolated",
    css: "body { background: #0b1f3a }",
    headers: {
      "cross-origin-embedder-policy": "require-corp",
      "cross-origin-opener-policy": "same-origin",
    },
  },
  {
    name: "through which another page shines",
    css: "body { background: transparent }",
    framed: true,
  },
];

const SCRIPT = `
window.loaded = (async () => {
  const { Cardveil } = await import("{client}/sdk/v1/cardveil.js");
  const token = async () => (await fetch("/token", { method: "POST" })).text();
  const veil = window.veil = Cardveil({ embed: "{embed}" });
  const whole = (window.whole = veil.card({ token, hideAfter: 300 }));
  whole.mount("#card");
  const parts = veil.card({ token, hideAfter: 300 });
  for (const part of document.querySelectorAll("span")) parts.mount(part, part.id);
  const frames = [...document.querySelectorAll("iframe")];
  await Promise.all(frames.map((frame) => new Promise((done) => (frame.onload = done))));
})();
`;

const CHECK = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><path d="M0 0h20v20H0zM20 20h20v20H20z"/></svg>`;
const NIGHT = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" preserveAspectRatio="none"><path d="M0 0h9v9H0z" fill="#081020"/></svg>`;
export const PARTS = ["pan", "expiry", "cvv", "name", "countdown", "toggle"];

export async function serveHosts(
  hosts: readonly Host[],
  token: () => Promise<string>,
  place: { client: string; embed: string },
  port: number,
): Promise<[origin: string, server: Server]> {
  const filled = (text: string) =>
    text.replaceAll("{client}", place.client).replaceAll("{embed}", place.embed);
  const server = createServer(async (request, response) => {
    const { pathname, search } = new URL(request.url ?? "", "http://localhost");
    const [, index = "", file = ""] = pathname.split("/");
    const host = hosts[Number(index)];
    const send = (type: string, body: string, headers: Record<string, string> = {}) =>
      response
        .writeHead(200, { "content-type": `${type}; charset=utf-8`, ...headers })
        .end(filled(body));
    if (pathname === "/token") send("text/plain", await token());
    else if (pathname === "/check.svg") send("image/svg+xml", CHECK);
    else if (pathname === "/night.svg") send("image/svg+xml", NIGHT);
    else if (pathname === "/host.js") send("text/javascript", SCRIPT);
    else if (host === undefined) response.writeHead(404).end();
    else if (file === "host.css")
      send(
        "text/css",
        `body { margin: 0 } main { padding: 20px } iframe { border: 0 } ${host.css}`,
      );
    else if (host.framed && file === "")
      send(
        "text/html",
        `<!doctype html><body style="background:#000"><iframe id="inner" style="width:600px;height:700px;border:0" src="/${index}/inner${search}"></iframe>`,
      );
    else
      send(
        "text/html",
        page(host, index),
        Object.fromEntries(
          Object.entries(host.headers ?? {}).map(([name, value]) => [name, filled(value)]),
        ),
      );
  });
  await once(server.listen(port, "127.0.0.1"), "listening");
  return [`http://localhost:${port}`, server];
}

const page = ({ html = "", behind = "" }: Host, index: string) => `<!doctype html>
<html lang="en" ${html}><head><meta charset="utf-8"><title>A page</title><link rel="stylesheet" href="/${index}/host.css"><script type="module" src="/host.js"></script></head>
<body><main>${behind}<section><div id="card"></div>${PARTS.map((part) => `<p><span id="${part}"></span></p>`).join("")}</section></main></body></html>`;
