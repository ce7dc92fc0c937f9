import nodeConsole from "node:console";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { examine } from "../src/doctor.ts";
import type { Place } from "../src/options.ts";

const place: Place = {
  origin: "https://cards.example",
  embed: "emb_1",
  frameUrl: "about:blank",
  doctor: () => import("../src/doctor.ts"),
};
const server = vi.fn<typeof fetch>();

beforeEach(() => {
  vi.useFakeTimers();
  // The fake browser loads no frames, and says so.
  vi.spyOn(nodeConsole, "error").mockImplementation(() => {});
  vi.stubGlobal("fetch", server);
  vi.stubGlobal("isSecureContext", true);
  vi.stubGlobal("crossOriginIsolated", false);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  Reflect.deleteProperty(HTMLIFrameElement.prototype, "featurePolicy");
});

/** What it says of a page whose frame does not come. */
async function said(): Promise<Record<string, string>> {
  const report = examine(place);
  await vi.advanceTimersByTimeAsync(5_000);
  const { checks } = await report;
  return Object.fromEntries(checks.map(({ check, message }) => [check, message]));
}

describe("a doctor that knows the cause", () => {
  it.each<[string, string, () => Response]>([
    ["embed", "there is no embed", () => new Response(null, { status: 404 })],
    ["origin", "is not one of the origins", () => Response.json({ origin_registered: false })],
  ])("blamed a content blocker too, and blames the %s alone", async (check, why, answer) => {
    server.mockImplementation(async () => answer());
    const found = await said();
    expect(found[check]).toContain(why);
    expect(found["frame"]).toBe("no frame came, for what is said above");
  });

  it("looks for a content blocker where nothing else is wrong", async () => {
    server.mockImplementation(async () => Response.json({ origin_registered: true }));
    expect((await said())["frame"]).toContain("content blocker");
  });
});

it.each([
  ["of its own", window, "this page's Permissions-Policy"],
  ["in a frame", {}, 'allow="clipboard-write" to the iframe that this page is in'],
])("a page %s that may not copy is told what to change", async (_, parent, change) => {
  server.mockImplementation(async () => Response.json({ origin_registered: true }));
  const featurePolicy = { allowsFeature: () => false };
  Object.defineProperty(HTMLIFrameElement.prototype, "featurePolicy", {
    configurable: true,
    value: featurePolicy,
  });
  vi.stubGlobal("parent", parent);
  expect((await said())["clipboard"]).toContain(change);
});
