// Serves the examples beside it and gives their pages tokens. Plain Node, nothing to install.
//
//   cardveil demo --transparent --allow-origin http://localhost:7500
//   node examples/server.mjs
//
// What a real server adds is its own sign-in: whoever gets a token sees the card, so the card is chosen by who is
// signed in, and never by what the page sends.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { pathToFileURL } from "node:url";

/** The demo's, which are public; another deployment's come from the environment and stay on the server. */
const DEMO = {
  port: Number(process.env.PORT ?? 7500),
  merchantUrl: process.env.CARDVEIL_MERCHANT_URL ?? "http://127.0.0.1:7410",
  clientUrl: process.env.CARDVEIL_CLIENT_URL ?? "http://127.0.0.1:7420",
  apiKey: process.env.CARDVEIL_API_KEY ?? "cvk_test_demo-equals-everyone-knows-this-key",
  embed: process.env.CARDVEIL_EMBED ?? "emb_demo",
  cardNo: process.env.CARDVEIL_CARD ?? "C202605220001",
};

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

export function serve(options = {}) {
  const settings = { ...DEMO, ...options };
  const server = createServer(async (request, response) => {
    try {
      const { status = 200, type = "text/plain", body } = await answer(request, settings);
      response
        .writeHead(status, { "content-type": `${type}; charset=utf-8`, ...headers(settings) })
        .end(body);
    } catch (error) {
      console.error(error);
      response.writeHead(500, headers(settings)).end();
    }
  });
  return new Promise((resolve) => server.listen(settings.port, "127.0.0.1", () => resolve(server)));
}

async function answer({ method, url }, settings) {
  const { pathname } = new URL(url, "http://localhost");
  if (method === "POST" && pathname === "/token") return token(settings);
  // Each example is a folder of plain files; nothing else of this folder is served.
  const path = /^\/(element|react|vue|svelte|marqeta)\/(dist\/)?([a-z]+\.(?:html|js|css))?$/.exec(
    pathname,
  );
  if (pathname === "/")
    return {
      type: TYPES[".html"],
      body: '<!doctype html><title>Examples</title><ul><li><a href="/element/">element</a><li><a href="/react/">react</a><li><a href="/vue/">vue</a><li><a href="/svelte/">svelte</a><li><a href="/marqeta/">marqeta</a></ul><p>And an app: examples/webview/card.py',
    };
  if (method !== "GET" || path === null) return { status: 404, body: "not found" };
  const [, folder, dist = "", file = "index.html"] = path;
  try {
    const text = await readFile(new URL(`${folder}/${dist}${file}`, import.meta.url), "utf8");
    return {
      type: TYPES[extname(file)],
      body: text
        .replaceAll("{{client_url}}", settings.clientUrl)
        .replaceAll("{{embed}}", settings.embed),
    };
  } catch {
    return { status: 404, body: "not found" };
  }
}

/** Asks Cardveil for a token for the card of who is signed in; here everyone is the one cardholder. */
export async function token({ merchantUrl, apiKey, cardNo }) {
  const issued = await fetch(`${merchantUrl}/v1/client-tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ card_no: cardNo }),
  });
  const { token, code } = await issued.json();
  if (issued.ok) return { body: token };
  console.error(`no token: ${code}`);
  return { status: 502, body: "no token" };
}

/** What a page that shows cards needs of its own policy, and nothing else is let in. */
function headers({ clientUrl }) {
  return {
    "cache-control": "no-store",
    "content-security-policy": `default-src 'self'; script-src 'self' ${clientUrl}; frame-src ${clientUrl}; base-uri 'none'; form-action 'none'`,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await serve();
  console.log(`http://localhost:${DEMO.port}/`);
}
