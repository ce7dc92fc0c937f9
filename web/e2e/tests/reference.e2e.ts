/** The page of the API's description, at the admin listener. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { complaints } from "../src/axe.ts";
import { type Browser, launch, name, type Visit } from "../src/browsers/index.ts";
import { type Demo, startDemo } from "../src/demo.ts";
import { Wire } from "../src/wire.ts";

let demo: Demo;
let browser: Browser;
let wire: Wire;
let visit: Visit;

beforeAll(async () => {
  [demo, browser, wire] = await Promise.all([startDemo(), launch(), Wire.open()]);
  visit = await browser.visit(
    { viewport: { width: 1280, height: 900 } },
    `http://127.0.0.1:${wire.port}`,
  );
  await visit.page.goto(`${demo.admin_url}/reference`);
  await visit.page.waitForFunction(() => document.querySelector("#reference.drawn h2") !== null);
});

afterAll(async () => {
  await visit?.leave();
  wire?.close();
  await browser?.close();
  await demo?.stop();
});

// One browser alone: what is asked is of the document.
it.runIf(name === "chromium")(
  "axe finds nothing on the reference page, which asks no other host for anything",
  async () => {
    expect(await complaints(visit.page)).toEqual([]);
    expect(visit.console).toEqual([]);
    expect(new Set(wire.exchanges.map(({ url }) => url.origin))).toEqual(new Set([demo.admin_url]));
  },
);

it("shows a call in curl for an operation", async () => {
  await visit.page.getByText("curl", { exact: true }).first().click();
  await visit.page.waitForFunction(() =>
    [...document.querySelectorAll("pre")].some(
      (code) =>
        code.textContent?.includes("curl -X POST http") || code.textContent?.includes("curl http"),
    ),
  );
});
