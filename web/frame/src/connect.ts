import { hello, parseConnect } from "@cardveil/protocol";

export interface Connection {
  port: MessagePort;
  nonce: string;
}

/**
 * Says hello to the page above and waits for its answer, once.
 *
 * The parent's origin cannot be asked for in every browser, so hello goes to each registered origin
 * and the browser delivers it to the real one alone.
 */
export function awaitConnection(
  origins: readonly string[],
  page: Window = window,
): Promise<Connection> {
  return new Promise((resolve) => {
    const listen = (event: MessageEvent) => {
      if (event.source !== page.parent || !origins.includes(event.origin)) return;
      const message = parseConnect(event.data);
      const [port] = event.ports;
      if (message === undefined || port === undefined) return;
      page.removeEventListener("message", listen);
      resolve({ port, nonce: message.nonce });
    };
    page.addEventListener("message", listen);
    for (const origin of addressees(origins, page)) page.parent.postMessage(hello(), origin);
  });
}

/** Where the browser names the parent, it alone; a miss is only noise in the console. */
function addressees(origins: readonly string[], page: Window): readonly string[] {
  const parent = page.location.ancestorOrigins?.[0];
  return parent !== undefined && origins.includes(parent) ? [parent] : origins;
}
