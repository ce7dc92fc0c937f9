import { beforeEach, describe, expect, it, vi } from "vitest";
import { parsePlace } from "../src/options.ts";

const ORIGIN = "https://cards.example";
const place = () => parsePlace({ embed: "emb_1", clientUrl: ORIGIN }, undefined);
/** What it puts into the page, which fetches nothing here. */
let asked: HTMLScriptElement | undefined;

beforeEach(() => {
  asked = undefined;
  vi.spyOn(Element.prototype, "append").mockImplementation(
    (script) => void (asked = script as HTMLScriptElement),
  );
});

describe("the doctor", () => {
  it("could be another version's, and is that of the SDK's build alone", () => {
    place()
      .doctor()
      .catch(() => {});
    expect(asked).toMatchObject({
      type: "module",
      integrity: DOCTOR_INTEGRITY,
      crossOrigin: "",
      src: `${ORIGIN}/sdk/v1/doctor.js?${DOCTOR_INTEGRITY}`,
    });
  });

  it("is of the exact version that the page has, where it has one from there", () => {
    const served = parsePlace({ embed: "emb_1" }, `${ORIGIN}/sdk/0.1.0/cardveil.js`);
    served.doctor().catch(() => {});
    expect(asked?.src).toBe(`${ORIGIN}/sdk/0.1.0/doctor.js?${DOCTOR_INTEGRITY}`);
  });

  it("that does not come says which line of a policy lets it in, or which SDK has one there", async () => {
    const coming = place().doctor();
    asked?.dispatchEvent(new Event("error"));
    const refusal = await coming.catch((error) => error);
    expect(refusal).toMatchObject({ name: "CardveilError", code: "csp_blocked" });
    expect(refusal.message).toContain(`"script-src ${ORIGIN}"`);
    expect(refusal.message).toContain(`load the SDK from ${ORIGIN}`);
  });

  it("asks a page that allows no second policy of one name for one", async () => {
    const made: string[] = [];
    const createPolicy = (name: string, rules: object) => {
      if (made.includes(name)) throw new TypeError("exists");
      made.push(name);
      return rules;
    };
    vi.stubGlobal("trustedTypes", { createPolicy });
    for (let round = 0; round < 2; round += 1) {
      asked = undefined;
      place()
        .doctor()
        .catch(() => {});
      expect(asked).toBeDefined();
    }
    vi.unstubAllGlobals();
  });

  it("is refused in words where a policy for trusted types allows none of its name", async () => {
    const createPolicy = () => {
      throw new TypeError("not allowed");
    };
    vi.stubGlobal("trustedTypes", { createPolicy });
    vi.resetModules();
    const fresh = await import("../src/options.ts");
    const place = () => fresh.parsePlace({ embed: "emb_1", clientUrl: ORIGIN }, undefined);
    await expect(place().doctor()).rejects.toMatchObject({ name: "CardveilError" });
    expect(asked).toBeUndefined();
    vi.unstubAllGlobals();
  });
});
