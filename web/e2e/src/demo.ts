/** The real server, as `cardveil demo --json` starts it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface DemoCard {
  card_no: string;
  card_id: string;
  last_four: string;
  state: string;
}

export interface Demo {
  shop_url: string;
  client_url: string;
  merchant_url: string;
  admin_url: string;
  embed: string;
  equals_api_key: string;
  cards: DemoCard[];
  /** A second merchant, whose policy asks for a code before a card is shown. */
  mfa: { equals_api_key: string; card: string; totp_secret: string };
  stop(): Promise<void>;
}

const BINARY =
  process.env["CARDVEIL_BIN"] ??
  fileURLToPath(new URL("../../../target/release/cardveil", import.meta.url));

/** Resolves when the demo says that it is ready. Ends the process, by its id, on `stop`. */
export async function startDemo(...more: string[]): Promise<Demo> {
  const base = await freePortBase();
  // Its data and its log stay where they are: `make canary` searches them for clear card data.
  const dir = mkdtempSync(join(tmpdir(), "cardveil-e2e-"));
  const log = join(dir, "server.log");
  const args = ["demo", "--json", "--port-base", String(base), "--dir", dir, ...more];
  const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", openSync(log, "a")] });
  if (child.stdout === null) throw new Error("a pipe was asked for");
  const ended = once(child, "close");
  const ready = once(createInterface({ input: child.stdout }), "line");
  const first = await Promise.race([ready, ended]);
  if (typeof first[0] !== "string") {
    throw new Error(`${BINARY} ended before it was ready:\n${readFileSync(log, "utf8")}`);
  }
  return {
    ...JSON.parse(first[0]),
    async stop() {
      child.kill("SIGTERM");
      await ended;
      if (process.env["KEEP_TEST_FILES"] === undefined) rmSync(dir, { recursive: true });
    },
  };
}

/** The demo listens on this port and on those 10, 20 and 30 above it. */
async function freePortBase(): Promise<number> {
  for (;;) {
    const base = 20_000 + Math.floor(Math.random() * 20_000);
    const free = await Promise.all([0, 10, 20, 30].map((above) => isFree(base + above)));
    if (free.every(Boolean)) return base;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
      .once("error", () => resolve(false))
      .listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
