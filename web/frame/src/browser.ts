import type { Surroundings } from "./card.ts";
import { keepKey } from "./keys.ts";

/** The real world, for `Card`; what can be seen of it is each document's own. */
export const browser: Omit<Surroundings, "sight"> = {
  fetch: (path, init) => fetch(path, init),
  now: () => Date.now(),
  wait: (ms) => new Promise((done) => setTimeout(done, ms)),
  uuid: () => crypto.randomUUID(),
  online: () => navigator.onLine,
  keepKey,
  timer(ms, run) {
    const id = setTimeout(run, ms);
    return () => clearTimeout(id);
  },
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed, or no such API: a page without `allow="clipboard-write"`, a WebView, an old
      // browser.
      return copyByCommand(text);
    }
  },
  // The second frame callback runs after the first one's paint.
  painted: () =>
    new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done()))),
  visible: () => document.visibilityState === "visible",
};

/** Hands the text to the clipboard event, so that it never stands in the document. */
function copyByCommand(text: string): boolean {
  let handed = false;
  const hand = (event: ClipboardEvent) => {
    event.preventDefault();
    event.clipboardData?.setData("text/plain", text);
    handed = event.clipboardData !== null;
  };
  document.addEventListener("copy", hand, { once: true });
  try {
    return document.execCommand("copy") && handed;
  } catch {
    return false;
  } finally {
    document.removeEventListener("copy", hand);
  }
}
