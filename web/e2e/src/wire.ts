/**
 * What goes over the wire between one cardholder's browser and everyone else: a proxy that
 * remembers all of it, and fails when told to.
 *
 * Every browser can be given a proxy, while no two drivers agree on how to watch or break a
 * request.
 */
import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

export interface Exchange {
  method: string;
  url: URL;
  body: string;
  /** None before the answer, or when there was none. */
  status?: number;
  headers: OutgoingHttpHeaders;
  answer: string;
}

export interface Answer {
  status: number;
  headers: OutgoingHttpHeaders;
  body: Buffer;
}

/** Decides on a request: passes it on, and answers what it likes, or cuts the connection. */
export type Fault = (pass: () => Promise<Answer>) => Promise<Answer | "cut">;

export class Wire {
  readonly exchanges: Exchange[] = [];
  #faults: { path: RegExp; fault: Fault }[] = [];
  readonly #waiting = new Set<() => void>();
  // A connection that was used before may be dead, and browsers then send a request twice by
  // themselves.
  readonly #agent = new Agent({ keepAlive: false });

  private constructor(
    readonly port: number,
    private readonly server: Server,
  ) {
    server.on(
      "request",
      (ask: IncomingMessage, reply: ServerResponse) => void this.#serve(ask, reply),
    );
  }

  static async open(): Promise<Wire> {
    const server = createServer();
    // Nobody here speaks TLS; what browsers want from the world by themselves, they do not get.
    server.on("connect", (_, socket) => socket.destroy());
    await once(server.listen(0, "127.0.0.1"), "listening");
    return new Wire((server.address() as AddressInfo).port, server);
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
    this.#agent.destroy();
  }

  /** The bodies of what was posted to a path. */
  posted<Body>(path: RegExp): Body[] {
    return this.exchanges
      .filter(({ method, url }) => method === "POST" && path.test(url.pathname))
      .map(({ body }) => (body === "" ? {} : JSON.parse(body)));
  }

  /** The first that fits, of those that were and of those to come. */
  until(fits: (exchange: Exchange) => boolean): Promise<Exchange> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.exchanges.find(fits);
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** From now on, whatever goes to the path is the fault's to decide. */
  fault(path: RegExp, fault: Fault): void {
    this.#faults.push({ path, fault });
  }

  mend(): void {
    this.#faults = [];
  }

  /** As if nothing had gone over it, and nothing failed. */
  forget(): void {
    this.mend();
    this.exchanges.length = 0;
  }

  async #serve(ask: IncomingMessage, reply: ServerResponse): Promise<void> {
    const body = await read(ask);
    const url = new URL(ask.url ?? "", "http://none.invalid");
    if (!["localhost", "127.0.0.1"].includes(url.hostname)) return void reply.destroy();
    const exchange: Exchange = {
      method: ask.method ?? "",
      url,
      body: body.toString(),
      headers: {},
      answer: "",
    };
    this.exchanges.push(exchange);
    this.#tell();
    const pass = () => this.#pass(ask, url, body);
    const fault =
      this.#faults.find(({ path }) => path.test(url.pathname))?.fault ?? ((pass) => pass());
    const answer = await fault(pass).catch(() => "cut" as const);
    if (answer === "cut") return void reply.destroy();
    Object.assign(exchange, {
      status: answer.status,
      headers: answer.headers,
      answer: answer.body.toString(),
    });
    // RFC 9110 8.6: an answer that has no body has no length either.
    const length = [204, 304].includes(answer.status)
      ? {}
      : { "content-length": answer.body.length };
    reply
      .writeHead(answer.status, { ...answer.headers, ...length, connection: "close" })
      .end(answer.body);
    this.#tell();
  }

  async #pass(ask: IncomingMessage, url: URL, body: Buffer): Promise<Answer> {
    const { "proxy-connection": _, ...headers } = ask.headers;
    const onward = request(url, {
      method: ask.method,
      headers: { ...headers, "accept-encoding": "identity" },
      agent: this.#agent,
    });
    onward.end(body);
    const [answer] = (await once(onward, "response")) as [IncomingMessage];
    const { "transfer-encoding": __, "keep-alive": ___, ...kept } = answer.headers;
    return { status: answer.statusCode ?? 0, headers: kept, body: await read(answer) };
  }

  #tell(): void {
    for (const look of [...this.#waiting]) look();
  }
}

async function read(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
