/** The page of the API's description, at the admin listener. */
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
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

it.runIf(name === "chromium")("it was light alone, and is dark where the device is", async () => {
  const dark = await browser.visit(
    { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
    `http://127.0.0.1:${wire.port}`,
  );
  try {
    await dark.page.goto(`${demo.admin_url}/reference`);
    await dark.page.waitForFunction(() => document.querySelector("#reference.drawn h2") !== null);
    expect(await complaints(dark.page)).toEqual([]);
    expect(await dark.page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe(
      "rgb(20, 22, 28)",
    );
    const dir = fileURLToPath(new URL(`../screenshots/${name}/`, import.meta.url));
    await mkdir(dir, { recursive: true });
    await dark.page.screenshot({ path: `${dir}reference-dark.png` });
  } finally {
    await dark.leave();
  }
});

it("shows a call in curl for an operation, at the address that the demo has", async () => {
  await visit.page.getByText("curl", { exact: true }).first().click();
  await visit.page.waitForFunction(() =>
    [...document.querySelectorAll("pre")].some((code) => code.textContent?.includes("curl ")),
  );
  const calls = await visit.page.evaluate(() =>
    [...document.querySelectorAll("pre")]
      .map((code) => /curl .*?(https?:[^ '/]*\/\/[^ '/]+)/.exec(code.textContent ?? "")?.[1])
      .filter((origin) => origin !== undefined),
  );
  const { merchant_url, client_url, admin_url } = demo;
  for (const origin of new Set(calls))
    expect([merchant_url, client_url, admin_url]).toContain(origin);
});
