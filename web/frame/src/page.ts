/** What every frame does with the page that it is in. */
import {
  type Appearance,
  type Configuration,
  type ForFrame,
  type ForPage,
  parseForFrame,
} from "@cardveil/protocol";
import type { Card } from "./card.ts";
import type { Config } from "./config.ts";
import { stand } from "./dress.ts";
import { loadFont } from "./font.ts";

export interface Channel {
  post(message: ForPage): void;
  ready(title: string): void;
  /** From now on, messages go here. */
  hear(listener: (message: ForFrame) => void): void;
  /** Chromium tells when the page's end of the channel is gone. */
  onClose(run: () => void): void;
}

/** Connects, and waits for the first message: it says what this frame is. */
export async function firstMessage(config: Config): Promise<[ForFrame, Channel]> {
  // What is sent before someone listens waits in the port.
  const { port, nonce } = await (config.connection ?? new Promise<never>(() => {}));
  const post = (message: ForPage) => port.postMessage(message);
  let listener: (message: ForFrame) => void = () => {};
  const first = new Promise<ForFrame>((resolve) => (listener = resolve));
  port.onmessage = ({ data }) => {
    const message = parseForFrame(data);
    if (message === undefined) return;
    if (message.type === "ground") return stand(message);
    listener(message);
    if (message.type === "destroy") port.close();
  };
  const channel: Channel = {
    post,
    ready: (title) => post({ type: "ready", nonce, title }),
    hear: (next) => (listener = next),
    onClose: (run) => port.addEventListener("close", run),
  };
  return [await first, channel];
}

/** Has a card do what its page says, and takes the digits away whenever the page is left. */
export async function hold(
  config: Config,
  make: (post: Channel["post"], settings: Configuration) => Card,
): Promise<void> {
  const [settings, channel] = await firstMessage(config);
  if (settings.type !== "configure") return;
  const card = make(channel.post, settings);
  channel.hear((message) => card.receive(message));
  channel.onClose(() => card.destroy());
  hideWhenLeft(
    () => card.hide("left"),
    () => card.leave(),
  );
  card.receive(settings);
  channel.ready(card.title);
}

/** Takes what is shown away whenever the page is left, or about to be kept or printed. */
export function hideWhenLeft(hide: () => void, leave: () => void): void {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") hide();
  });
  document.addEventListener("freeze", leave);
  window.addEventListener("pagehide", leave);
  window.addEventListener("beforeprint", hide);
}

const tried = new Set<string | undefined>();

export function wearFont(
  config: Pick<Config, "fonts">,
  { font }: Appearance,
  post: (message: ForPage) => void,
): void {
  if (tried.has(font)) return;
  tried.add(font);
  void loadFont(config.fonts, font).then((worn) => {
    if (!worn)
      post({
        type: "warning",
        code: "font_unavailable",
        message: "The font is not registered, or did not load.",
      });
  });
}

export function reportSize(
  root: HTMLElement,
  post: (message: ForPage) => void,
  baseline?: () => number,
): void {
  const observer = new ResizeObserver(() => {
    const height = Math.ceil(root.getBoundingClientRect().height);
    if (height > 0)
      post({ type: "size", height, ...(baseline === undefined ? {} : { baseline: baseline() }) });
  });
  observer.observe(root);
}
