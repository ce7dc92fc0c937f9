/**
 * A frame's document that the browser keeps, and asks for again only to hear that it is the same.
 *
 * Counts as a failure: a second document that the policy of the first does not hold; a page that
 * may not frame it, and can since another page of its site has.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { type Browser, itNeeds, launch } from "../src/browsers/index.ts";
import { Cardholder } from "../src/cardholder.ts";
import { type Demo, startDemo } from "../src/demo.ts";

let demo: Demo;
let browser: Browser;
let ada: Cardholder;
let elsewhere: Server | undefined;

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launch()]);
});
afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});
beforeEach(async () => {
  ada = await Cardholder.arrive(browser, demo);
});
afterEach(async () => {
  await ada.leave();
  elsewhere?.close();
  elsewhere = undefined;
});

const documents = () =>
  ada.wire.exchanges.filter(({ url }) => /^\/embed\/[^/]+$/.test(url.pathname));
const isOurs = () => document.getElementById("cardveil-root") !== null;

itNeeds("cache")(
  "a second frame cost its whole document again, and is told that it is the same",
  async () => {
    await ada.show();
    await ada.open();
    await ada.show();
    expect(documents().map(({ status }) => status)).toEqual([200, 304]);
    const held = await ada.frame.evaluate(async () => {
      const refused = async (run: () => unknown) => {
        try {
          await run();
          return false;
        } catch {
          return true;
        }
      };
      Object.assign(window, { ran: false });
      const script = document.createElement("script");
      const style = document.createElement("style");
      style.textContent = "main { position: fixed }";
      const markup = await refused(() => (document.body.innerHTML = document.body.innerHTML + ""));
      const text = await refused(() => {
        script.textContent = "window.ran = true";
        document.head.append(script);
      });
      document.head.append(style);
      return {
        markup,
        text: text || !(window as unknown as { ran: boolean }).ran,
        style: getComputedStyle(document.querySelector("main") as Element).position !== "fixed",
        elsewhere: await refused(() => fetch("http://127.0.0.1:9/", { mode: "no-cors" })),
      };
    });
    // Trusted types, which not every browser knows, are what forbids the markup.
    expect({ ...held, markup: true }).toEqual({
      markup: true,
      text: true,
      style: true,
      elsewhere: true,
    });
  },
);

it("a page that may not frame it cannot frame what another page of its site has left in the cache", async () => {
  await ada.show();
  const { href } = documents()[0]?.url ?? {};
  const frames = async () => {
    try {
      return await ada.frameOf(`${demo.client_url}/embed/`).evaluate(isOurs);
    } catch {
      return false;
    }
  };
  expect(await frames()).toBe(true);
  const server = createServer((_, reply) => {
    reply.setHeader("content-type", "text/html");
    reply.end(`<!doctype html><body><script>
      const frame = document.createElement("iframe");
      frame.src = ${JSON.stringify(href)};
      frame.onload = () => (document.title = "loaded");
      document.body.append(frame);
    </script>`);
  });
  elsewhere = server;
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await ada.page.goto(`http://localhost:${port}/`);
  await ada.wire.until(
    ({ url, status }) => url.href === href && status !== undefined && documents().length > 1,
  );
  await ada.page.evaluate(
    () =>
      new Promise<void>((done) => {
        const look = () =>
          document.title === "loaded" ? setTimeout(done, 300) : setTimeout(look, 20);
        setTimeout(done, 3000);
        look();
      }),
  );
  expect(await frames()).toBe(false);
});
