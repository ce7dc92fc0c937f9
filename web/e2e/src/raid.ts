/**
 * A page that was taken over: a registered shop's, with somebody else's script in it. It hears all
 * that the page can hear, holds every port, and can frame Cardveil by itself, without the SDK.
 */
import { connect } from "../../protocol/src/index.ts";
import type { Cardholder } from "./cardholder.ts";

export interface Raid {
  /** What came by any port of the page, as JSON. */
  told: string[];
  /** What else the page heard: window messages, errors, reports, performance entries. */
  heard: string[];
  /** What the page's own SDK said to its frames. */
  sent: { type: string }[];
  ports: MessagePort[];
  /** Something of the raider's ran that should not have. */
  ran: number;
  /** Frames an address; resolves when the frame says hello, or has loaded. */
  open(address: string, sandbox?: string): Promise<HTMLIFrameElement>;
  /** Shakes hands, with this message and a port of the raider's own, which it keeps. */
  connect(target: Window, message?: unknown): MessagePort;
  /** Until the port was told of one of these. */
  until(port: MessagePort, ...types: string[]): Promise<string>;
  /** Which of the ports the frame listens to. */
  taken(configure: unknown, ports: MessagePort[]): Promise<number>;
}

declare global {
  interface Window {
    raid: Raid;
  }
}

/** Takes the page over, before any card is on it. */
export async function takeOver(ada: Cardholder): Promise<void> {
  await ada.page.evaluate((greeting) => {
    const raid: Raid = {
      told: [],
      heard: [],
      sent: [],
      ports: [],
      ran: 0,
      open(address, sandbox) {
        const frame = document.createElement("iframe");
        frame.src = address;
        frame.dataset["testid"] = "raided";
        if (sandbox !== undefined) frame.setAttribute("sandbox", sandbox);
        document.body.append(frame);
        return new Promise((resolve) => {
          addEventListener("message", ({ source, data }) => {
            if (source === frame.contentWindow && data?.type === "hello") resolve(frame);
          });
          frame.addEventListener("load", () => resolve(frame));
        });
      },
      connect(target, message = greeting) {
        const { port1, port2 } = new MessageChannel();
        port1.start();
        target.postMessage(message, "*", [port2]);
        return port1;
      },
      until: (port, ...types) =>
        new Promise((resolve) =>
          port.addEventListener(
            "message",
            ({ data }) => types.includes(data.type) && resolve(data.type),
          ),
        ),
      taken: (configure, ports) =>
        Promise.race(
          ports.map(async (port, index) => {
            const ready = raid.until(port, "ready");
            port.postMessage(configure);
            await ready;
            return index;
          }),
        ),
    };
    Object.assign(window, { raid });
    addEventListener("message", ({ data }) => raid.heard.push(JSON.stringify(data)), true);
    addEventListener(
      "error",
      ({ message, error }) => raid.heard.push(`${message} ${error?.stack}`),
      true,
    );
    addEventListener("unhandledrejection", ({ reason }) =>
      raid.heard.push(`${reason} ${reason?.stack}`),
    );
    addEventListener(
      "securitypolicyviolation",
      (event) => raid.heard.push(`${event.blockedURI} ${event.sample}`),
      true,
    );
    for (const type of PerformanceObserver.supportedEntryTypes) {
      new PerformanceObserver((list) =>
        list.getEntries().forEach((entry) => raid.heard.push(JSON.stringify(entry))),
      ).observe({ type, buffered: true });
    }
    const Channel = MessageChannel;
    const post = MessagePort.prototype.postMessage;
    MessagePort.prototype.postMessage = function (this: MessagePort, message: { type: string }) {
      raid.sent.push(message);
      post.call(this, message);
    };
    window.MessageChannel = function () {
      const channel = new Channel();
      raid.ports.push(channel.port1);
      channel.port1.addEventListener("message", ({ data }) => raid.told.push(JSON.stringify(data)));
      return channel;
    } as unknown as typeof MessageChannel;
  }, connect("n-of-the-raider-0000"));
}

/** Everything that a script in the page can lay hands on. */
export async function loot(ada: Cardholder): Promise<string> {
  const page = await ada.page.evaluate(() =>
    [
      ...window.raid.told,
      ...window.raid.heard,
      JSON.stringify(performance.getEntries()),
      document.documentElement.outerHTML,
      document.documentElement.innerText,
      document.cookie,
      JSON.stringify(Object.entries(localStorage)),
      JSON.stringify(Object.entries(sessionStorage)),
      String(getSelection()),
      [...document.querySelectorAll("iframe")]
        .map(({ title, name, src }) => [title, name, src].join())
        .join(),
    ].join("\n"),
  );
  return [page, ...ada.console].join("\n");
}
