/** The frame's entry: finds its page, listens to it, and takes the digits away whenever the page is left. */
import { type ForPage, parseForFrame } from "@cardveil/protocol";
import { browser } from "./browser.ts";
import { Card } from "./card.ts";
import { readConfig } from "./config.ts";
import { awaitConnection } from "./connect.ts";
import { Failure } from "./failure.ts";
import { View } from "./view.ts";

async function start(root: HTMLElement): Promise<void> {
  const config = readConfig(document);
  const view = new View(root);
  view.render({ at: "loading" });
  if (window.parent === window) {
    view.render({ at: "failed", failure: new Failure("origin_refused"), retryable: false });
    return;
  }
  const { port, nonce } = await awaitConnection(config.origins);
  const post = (message: ForPage) => port.postMessage(message);
  const card = new Card(config, browser, view, post);
  port.addEventListener("message", (event) => {
    const message = parseForFrame(event.data);
    if (message === undefined) return;
    if (card.receive(message)) {
      post({ type: "ready", nonce });
      reportHeight(root, post);
    }
    if (message.type === "destroy") port.close();
  });
  // Chromium tells when the page's end of the channel is gone.
  port.addEventListener("close", () => card.destroy());
  port.start();
  hideWhenLeft(card);
}

function hideWhenLeft(card: Card): void {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") card.hide("left");
  });
  document.addEventListener("freeze", () => card.leave());
  window.addEventListener("pagehide", () => card.leave());
  window.addEventListener("beforeprint", () => card.hide("left"));
}

function reportHeight(root: HTMLElement, post: (message: ForPage) => void): void {
  new ResizeObserver(() => post({ type: "height", px: Math.ceil(root.getBoundingClientRect().height) })).observe(root);
}

const root = document.getElementById("cardveil-root");
if (root !== null) void start(root);
