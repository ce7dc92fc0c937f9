import { describe, expect, it } from "vitest";
import { addSamples, type Description, placeServers } from "../src/samples.ts";
import openapi from "../../../docs/openapi.json" with { type: "json" };

const description = structuredClone(openapi) as unknown as Description;
addSamples(description);
const operations = Object.values(description.paths).flatMap((path) => Object.values(path));
const sample = (path: string, method: string) =>
  description.paths[path]?.[method]?.["x-codeSamples"]?.[0]?.source;

describe("each operation", () => {
  it("has one call, whole, with nobody's key", () => {
    expect(operations.length).toBeGreaterThan(50);
    for (const { operationId, "x-codeSamples": samples } of operations) {
      expect(samples?.length, operationId).toBe(1);
      const source = samples?.[0]?.source ?? "";
      expect(source, operationId).toMatch(/^curl (-X [A-Z]+ )?'?http:\/\/127\.0\.0\.1:74[123]0\//);
      expect(source, operationId).not.toMatch(
        /[{](card|person|id|embed|version|file|font|asset)|undefined|\bnull\b|csk_|cvk_/,
      );
    }
  });
});

it("a token is asked for by the least that it takes", () => {
  expect(sample("/v1/client-tokens", "post")).toBe(
    `curl http://127.0.0.1:7410/v1/client-tokens \\
  -H "Authorization: Bearer $API_KEY" \\
  -H 'Content-Type: application/json' \\
  -d '{"card_no":"C202605220001","operation":"VIEW_CARD"}'`,
  );
});

it("each API is called in its own way", () => {
  expect(sample("/v2/cards/{cardId}/access-token", "get")).toBe(
    `curl 'http://127.0.0.1:7410/v2/cards/e9293471-5eb3-4dbc-916c-dbaf9e2deefd/access-token?accountId=F50091' \\
  -H "Authorization: ApiKey $API_KEY"`,
  );
  expect(sample("/open-api/v1/merchant/token", "get")).toBe(
    `curl http://127.0.0.1:7410/open-api/v1/merchant/token \\
  -H "Api-Key: $API_KEY" \\
  -H "Timestamp: $(date +%s%3N)"`,
  );
  expect(sample("/v1/webhooks/{id}", "delete")).toMatch(/^curl -X DELETE http/);
  expect(sample("/readyz", "get")).toBe("curl http://127.0.0.1:7430/readyz");
});

describe("the address of a call", () => {
  const calls = (page: string, client: string) => {
    const description = structuredClone(openapi) as unknown as Description;
    placeServers(description, new URL(page), client);
    addSamples(description);
    return [
      ["/v1/client-tokens", "post"],
      ["/client/v1/redeem", "post"],
      ["/readyz", "get"],
    ].map(([path = "", method = ""]) => {
      const source = description.paths[path]?.[method]?.["x-codeSamples"]?.[0]?.source ?? "";
      return new URL(/https?:[^ ']+/.exec(source)?.[0] ?? "").origin;
    });
  };

  it("was that of port 7410 whatever the demo's ports are, and goes by where the page is", () => {
    expect(calls("http://127.0.0.1:9030/reference", "http://127.0.0.1:9020")).toEqual([
      "http://127.0.0.1:9010",
      "http://127.0.0.1:9020",
      "http://127.0.0.1:9030",
    ]);
    expect(calls("http://admin.localhost:7430/reference", "http://card.localhost:7420")).toEqual([
      "http://127.0.0.1:7410",
      "http://card.localhost:7420",
      "http://admin.localhost:7430",
    ]);
  });

  it("of a live deployment was a name to replace for cardholders, and is where they go", () => {
    expect(calls("https://admin.bank.example/reference", "https://cards.bank.example")).toEqual([
      "https://cardveil-merchant.example",
      "https://cards.bank.example",
      "https://admin.bank.example",
    ]);
  });
});
