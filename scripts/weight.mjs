// What a card weighs on the wire, and how long it takes on a slow line: `make weight`.
//
// A real Chromium goes to a real demo through a proxy that counts what the server sends, heads included, and that
// can be a slow line: each answer begins a round trip after it was asked for, and all of them share one rate.
// Prints docs/reports/weight.md.
import { spawn, execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { Agent, createServer, request } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";

const root = new URL("..", import.meta.url).pathname;
const { chromium } = createRequire(new URL("../web/e2e/package.json", import.meta.url))(
  "playwright-core",
);
const binary = process.env.CARDVEIL_BIN ?? join(root, "target/release/cardveil");
const RUNS = Number(process.env.RUNS ?? 60);
/** Bits a second, and milliseconds there and back. */
const LINES = {
  loopback: undefined,
  slow: { rate: 400_000, rtt: 400 },
  slowest: { rate: 50_000, rtt: 400 },
};

const dir = mkdtempSync(join(tmpdir(), "cardveil-weight-"));
const base = 20_000 + (process.pid % 20_000);
const demo = spawn(binary, ["demo", "--json", "--port-base", String(base), "--dir", dir], {
  stdio: ["ignore", "pipe", openSync(join(dir, "server.log"), "a")],
});
const ended = once(demo, "close");
const [line] = await once(createInterface({ input: demo.stdout }), "line");
const { shop_url: shop, client_url: client, embed, cards } = JSON.parse(line);
const card = cards.find(
  ({ last_four, state }) => last_four === "1111" && /^active$/i.test(state),
).card_no;

let slow;
/** Until when the line is taken. */
let taken = 0;
const answers = [];
const agent = new Agent({ keepAlive: true });
const proxy = createServer(async (ask, reply) => {
  const began = performance.now();
  const body = [];
  for await (const part of ask) body.push(part);
  // What the browser wants from the world by itself, it does not get.
  if (!["localhost", "127.0.0.1"].includes(new URL(ask.url).hostname)) return void reply.destroy();
  const onward = request(ask.url, {
    method: ask.method,
    headers: ask.headers,
    agent,
  });
  onward.end(Buffer.concat(body));
  const [answer] = await once(onward, "response");
  const parts = [];
  for await (const part of answer) parts.push(part);
  const sent = Buffer.concat(parts);
  const head = answer.rawHeaders.reduce(
    (sum, text) => sum + text.length + 2,
    "HTTP/1.1 200 OK\r\n\r\n".length,
  );
  const bytes = head + sent.length;
  answers.push({
    path: new URL(ask.url).pathname,
    status: answer.statusCode,
    head,
    body: sent.length,
    bytes,
  });
  if (slow !== undefined) {
    taken = Math.max(taken, began + slow.rtt) + (bytes * 8 * 1000) / slow.rate;
    await wait(taken - performance.now());
  }
  reply.writeHead(answer.statusCode, answer.headers).end(sent);
}).listen(0, "127.0.0.1");
proxy.on("connect", (_, socket) => socket.destroy());
await once(proxy, "listening");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--proxy-bypass-list=<-loopback>"],
  proxy: { server: `http://127.0.0.1:${proxy.address().port}` },
});

/** A page of the shop's origin with nothing on it, and a token for it. */
async function arrive(context) {
  slow = undefined;
  const page = await context.newPage();
  await page.goto(`${shop}/shop.css`);
  await page.setContent('<main id="card"></main><main id="parts"></main>');
  const token = await page.evaluate(
    async (path) => (await (await fetch(path, { method: "POST" })).json()).token,
    `/api/cards/${card}/token?api=native`,
  );
  answers.length = 0;
  return { page, token };
}

/** Mounts a card, and answers the milliseconds from the SDK, and from the mount, to the digits. */
function show(page, token, parts = []) {
  return page.evaluate(
    async ({ client, embed, token, parts }) => {
      const began = performance.now();
      const { Cardveil } = await import(`${client}/sdk/v1/cardveil.js`);
      const veil = Cardveil({ embed, clientUrl: client });
      const mounted = performance.now();
      const card = veil.card({
        token,
        masked: parts.length > 0 ? false : undefined,
      });
      const shown = new Promise((resolve, reject) => {
        card.on("revealed", resolve);
        card.on("error", ({ code, message }) => reject(new Error(`${code}: ${message}`)));
      });
      if (parts.length === 0) card.mount("#card");
      for (const part of parts) {
        const place = document.createElement("div");
        document.querySelector("#parts").append(place);
        card.mount(place, part);
      }
      await shown;
      const now = performance.now();
      return { sdk: now - began, mount: now - mounted };
    },
    { client, embed, token, parts },
  );
}

const weigh = (fits) =>
  answers.filter(({ path }) => fits.test(path)).reduce((sum, { bytes }) => sum + bytes, 0);
const count = (fits) => answers.filter(({ path }) => fits.test(path)).length;
const kb = (bytes) => `${bytes.toLocaleString("en")} B`;
const FRAME = /^\/embed\//;
const SDK = /^\/sdk\//;
const rows = [];

{
  const context = await browser.newContext();
  const { page, token } = await arrive(context);
  await show(page, token);
  rows.push(["the SDK", kb(weigh(SDK)), count(SDK)]);
  rows.push(["the first frame, whole card", kb(weigh(FRAME)), count(FRAME)]);
  for (const { path, head, body } of answers) console.error(`${path}: ${head} + ${body}`);
  const again = await arrive(context);
  await show(again.page, again.token);
  rows.push(["the next one, scripts kept", kb(weigh(FRAME)), count(FRAME)]);
  await context.close();
}
const PARTS = ["pan", "expiry", "cvv", "name", "copy-pan", "toggle", "countdown"];
{
  const context = await browser.newContext();
  const { page, token } = await arrive(context);
  await show(page, token, PARTS);
  rows.push(["a card in seven parts", kb(weigh(FRAME)), count(FRAME)]);
  const again = await arrive(context);
  await show(again.page, again.token, PARTS);
  rows.push(["the next one, scripts kept", kb(weigh(FRAME)), count(FRAME)]);
  await context.close();
}

const WAYS = [
  [[], ["whole card, cold", "whole card, kept"]],
  [PARTS, ["seven parts, cold", "seven parts, kept"]],
];
const times = [];
for (const [name, line] of Object.entries(LINES).slice(1)) {
  const took = Object.fromEntries(WAYS.flatMap(([, whats]) => whats).map((what) => [what, []]));
  for (let run = 0; run < 5; run += 1) {
    for (const [parts, whats] of WAYS) {
      const context = await browser.newContext();
      for (const what of whats) {
        const { page, token } = await arrive(context);
        [slow, taken] = [line, 0];
        const { sdk } = await show(page, token, parts).catch(() => ({ sdk: NaN }));
        took[what].push(sdk);
        await page.close();
      }
      await context.close();
    }
  }
  for (const [what, all] of Object.entries(took))
    times.push([
      `${line.rate / 1000} kbit/s, ${line.rtt} ms, ${what}`,
      all.toSorted((a, b) => a - b),
    ]);
}
await browser.close();

// Without the proxy, which takes its own time.
const direct = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const loopback = { mount: [], prepared: [], token: [] };
{
  const { page } = await arrive(await direct.newContext());
  for (let run = 0; run < RUNS + 5; run += 1) {
    for (const prepared of [false, true]) {
      const { mount, token } = await page.evaluate(
        async ({ client, embed, path, prepared }) => {
          const { Cardveil } = await import(`${client}/sdk/v1/cardveil.js`);
          const veil = Cardveil({ embed, clientUrl: client });
          const { token } = await (await fetch(path, { method: "POST" })).json();
          // Long enough for a frame to be there; the page hears nothing of it.
          if (prepared) veil.prepare("#card");
          if (prepared) await new Promise((done) => setTimeout(done, 500));
          let asked = 0;
          const mounted = performance.now();
          const card = veil.card({
            token: async () => {
              asked = performance.now();
              return token;
            },
          });
          const shown = new Promise((done, failed) => {
            card.on("revealed", () => done(performance.now()));
            card.on("error", failed);
          });
          card.mount("#card");
          const at = await shown;
          card.destroy();
          return { mount: at - mounted, token: at - asked };
        },
        { client, embed, path: `/api/cards/${card}/token?api=native`, prepared },
      );
      if (run < 5) continue;
      loopback[prepared ? "prepared" : "mount"].push(mount);
      loopback.token.push(token);
    }
  }
}
await direct.close();
const at = (all, share) => all.toSorted((a, b) => a - b)[Math.floor(share * (all.length - 1))];
const took = (what, all) =>
  `| ${what} | ${[0.5, 0.95].map((share) => `${at(all, share).toFixed(0)} ms`).join(" | ")} |`;

proxy.close();
proxy.closeAllConnections();
demo.kill("SIGTERM");
await ended;
rmSync(dir, { recursive: true });

const commit = execFileSync("git", ["-C", root, "rev-parse", "--short", "HEAD"], {
  encoding: "utf8",
}).trim();
console.log(`# What a card weighs

By \`make weight\` on ${commit}, in Chromium, through a proxy that counts what the server sends: bytes on the wire
by HTTP/1.1, heads included, in the coding that the browser asks for.

| what | bytes | answers |
| --- | --- | --- |
${rows.map((row) => `| ${row.join(" | ")} |`).join("\n")}

From the import of the SDK to the digits, with the token at hand, five runs each. An answer begins a round trip after
it was asked for, and all of them share the rate; opening a connection costs nothing here.

| line | fastest | median | slowest |
| --- | --- | --- | --- |
${times.map(([what, all]) => `| ${what} | ${[0, 2, 4].map((i) => `${(all[i] / 1000).toFixed(1)} s`).join(" | ")} |`).join("\n")}

To the digits on loopback, scripts kept, ${RUNS} runs each, without the proxy. A frame that was not seen yet waits for one
or two pictures until Chromium says that it is.

| from | median | 95th percentile |
| --- | --- | --- |
${took("the mount of a card", loopback.mount)}
${took("the mount of a card whose frame was prepared", loopback.prepared)}
${took("the token, which a frame asks for when it is seen", loopback.token)}`);
