import { beforeEach, describe, expect, it } from "vitest";
import { Redemption } from "../src/redemption.ts";
import { CARD, EMBED, type Fate, problem, TOKEN, World } from "./world.ts";

let world: World;
let redemption: Redemption;

beforeEach(async () => {
  world = new World();
  redemption = await Redemption.begin(world, EMBED, TOKEN);
});

const refusal = (fields: ("pan" | "cvv")[] = ["pan"]) =>
  redemption.release(fields).then(
    () => expect.unreachable("it should have been refused"),
    (failure) => failure,
  );

describe("release", () => {
  it("opens what was sealed to its key", async () => {
    const release = await redemption.release(["pan", "expiry", "name"]);
    const { cvv, ...rest } = CARD;
    expect(release).toEqual({
      secrets: rest,
      there: ["pan", "expiry", "name"],
      left: ["pan", "expiry", "cvv", "name"],
      lastFour: "1111",
      network: "visa",
    });
    expect(world.redeems).toEqual([
      {
        token: TOKEN,
        embed: EMBED,
        key: {
          kty: "EC",
          crv: "P-256",
          x: expect.stringMatching(/^[\w-]{43}$/),
          y: expect.stringMatching(/^[\w-]{43}$/),
        },
        fields: ["pan", "expiry", "name"],
        attempt: expect.stringMatching(
          /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
        ),
      },
    ]);
  });

  it("asks for further fields with the same key and another attempt", async () => {
    await redemption.release(["pan"]);
    const { secrets } = await redemption.release(["cvv"]);
    expect(secrets).toEqual({ cvv: CARD.cvv });
    const [first, second] = world.redeems;
    expect(second?.["key"]).toEqual(first?.["key"]);
    expect(second?.["attempt"]).not.toBe(first?.["attempt"]);
  });

  it("opens what the card has, and says what that is (braintree-web-drop-in#149)", async () => {
    world.lacks = ["cvv"];
    const release = await redemption.release(["pan", "cvv"]);
    expect(release).toMatchObject({ secrets: { pan: CARD.pan }, there: ["pan"], left: ["pan"] });
    expect(await refusal(["cvv"])).toMatchObject({ code: "field_unavailable", retryable: false });
  });

  it("makes a key for every token", async () => {
    const other = await Redemption.begin(world, EMBED, `${TOKEN}2`);
    await redemption.release(["pan"]);
    await other.release(["pan"]);
    expect(world.redeems[0]?.["key"]).not.toEqual(world.redeems[1]?.["key"]);
  });
});

describe("the header is checked before anything is handed out", () => {
  const lies: [string, Fate][] = [
    ["another token", { header: (header) => (header["token"] = "x".repeat(43)) }],
    ["another embed", { header: (header) => (header["embed"] = "emb_other") }],
    ["another operation", { header: (header) => (header["operation"] = "VIEW_PIN") }],
    ["another key", { header: (header) => (header["thumbprint"] = "x".repeat(43)) }],
    ["another redemption", { header: (header) => (header["redemption"] = "rdm_other") }],
    ["a field as missing that was sealed", { answer: (answer) => (answer["missing"] = ["pan"]) }],
    [
      "nothing that the card has",
      {
        header: (header) => (header["fields"] = []),
        answer: (answer) => (answer["missing"] = ["pan"]),
      },
    ],
    ["fewer fields", { header: (header) => (header["fields"] = []) }],
    ["more fields", { header: (header) => (header["fields"] = ["pan", "cvv"]) }],
    ["a field twice", { header: (header) => (header["fields"] = ["pan", "pan"]) }],
    ["fields that are no list", { header: (header) => (header["fields"] = "pan") }],
    ["no thumbprint", { header: (header) => delete header["thumbprint"] }],
    [
      "a redemption that is not the header's",
      { answer: (answer) => (answer["redemption"] = "rdm_other") },
    ],
    ["a header that is no base64url", { answer: (answer) => (answer["header"] += "=") }],
    ["a header that is no JSON", { answer: (answer) => (answer["header"] = "AAAA") }],
    [
      "a header changed after sealing",
      {
        answer: (answer) =>
          (answer["header"] = btoa(
            atob(answer["header"].replace(/-/g, "+").replace(/_/g, "/")).replace("mer_1", "mer_2"),
          )
            .replace(/\+/g, "-")
            .replace(/\//g, "_")
            .replace(/=/g, "")),
      },
    ],
    [
      "a ciphertext with a flipped byte",
      { answer: (answer) => (answer["sealed"].ciphertext = flip(answer["sealed"].ciphertext)) },
    ],
    ["another enc", { answer: (answer) => (answer["sealed"].enc = flip(answer["sealed"].enc)) }],
    ["a plaintext without the field", { plaintext: (plaintext) => delete plaintext["pan"] }],
    [
      "a plaintext with a malformed field",
      { plaintext: (plaintext) => (plaintext["pan"] = "<img src=x>") },
    ],
  ];

  it.each(lies)("%s", async (_, fate) => {
    world.fates = [fate];
    expect(await refusal()).toMatchObject({ code: "header_mismatch", retryable: false });
    expect(world.redeems).toHaveLength(1);
  });

  it("and a second release must belong to the first", async () => {
    await redemption.release(["pan"]);
    world.fates = [
      {
        header: (header) => (header["redemption"] = "rdm_9"),
        answer: (answer) => (answer["redemption"] = "rdm_9"),
      },
    ];
    expect(await refusal(["cvv"])).toMatchObject({ code: "header_mismatch" });
  });

  const flip = (text: string) => (text.startsWith("A") ? "B" : "A") + text.slice(1);
});

describe("retry", () => {
  it.each<Fate>([
    "lose request",
    "lose answer",
    problem(503, "unavailable"),
    new Response("<html>bad gateway", { status: 502 }),
  ])("fetches a lost answer again with the same key and attempt (%s)", async (fate) => {
    world.fates = [fate, fate instanceof Response ? fate.clone() : fate];
    expect((await redemption.release(["pan"])).secrets.pan).toBe(CARD.pan);
    expect(world.redeems).toHaveLength(3);
    expect(new Set(world.redeems.map((body) => JSON.stringify(body))).size).toBe(1);
    expect(world.waits.filter((ms) => ms < 8000)).toEqual([500, 1500]);
  });

  it("gives up after three tries", async () => {
    world.fates = ["lose request", "lose request", "lose request"];
    expect(await refusal()).toMatchObject({ code: "unavailable", retryable: true });
    expect(world.redeems).toHaveLength(3);
  });

  it("tells offline from unavailable", async () => {
    world.isOnline = false;
    world.fates = ["lose request", "lose request", "lose request"];
    expect(await refusal()).toMatchObject({ code: "offline", retryable: true });
  });

  it("takes no answer within the limit for a lost one", async () => {
    world.fates = ["hang", "hang", "hang"];
    expect(await refusal()).toMatchObject({ code: "timeout", retryable: true });
    expect(world.waits.filter((ms) => ms >= 8000)).toHaveLength(3);
  });

  it.each([
    [
      problem(403, "token_refused"),
      { code: "token_refused", retryable: false, requestId: "req_1" },
    ],
    [problem(403, "origin_refused"), { code: "origin_refused", retryable: false }],
    [problem(400, "invalid_request"), { code: "invalid_request", retryable: false }],
    [problem(404, "made_up"), { code: "invalid_request", retryable: false }],
    [
      problem(429, "rate_limited", { "retry-after": "7" }),
      { code: "rate_limited", retryable: true, retryAfterMs: 7000 },
    ],
    [
      problem(429, "rate_limited", { "retry-after": "-1" }),
      { code: "rate_limited", retryAfterMs: 30_000 },
    ],
  ])("does not repeat what was answered (%#)", async (response, failure) => {
    world.fates = [response];
    expect(await refusal()).toMatchObject(failure);
    expect(world.redeems).toHaveLength(1);
  });
});

describe("an answer that is not the server's, as of a guest network that wants a login", () => {
  const answers = [
    () => new Response("<html>", { status: 403, headers: { "x-request-id": "abc-1" } }),
    () => new Response("<html>"),
    () => new Response("{}"),
    () => new Response("null"),
  ];

  it.each(answers)(
    "is a loss: it is asked again, and the token stays good (%#)",
    async (answer) => {
      world.fates = [answer()];
      const { secrets } = await redemption.release(["pan"]);
      expect(secrets.pan).toBe(CARD.pan);
      expect(new Set(world.redeems.map(({ attempt }) => attempt)).size).toBe(1);
    },
  );

  it.each(answers)("can be tried again by hand when it stays (%#)", async (answer) => {
    world.fates = [answer(), answer(), answer()];
    await expect(redemption.release(["pan"])).rejects.toMatchObject({
      code: "unavailable",
      retryable: true,
    });
    expect((await redemption.release(["pan"])).secrets.pan).toBe(CARD.pan);
  });
});

describe("window", () => {
  it.each([0, 3_600_000, -3_600_000])(
    "is told by the server's clock, %d ms ahead of ours",
    async (ahead) => {
      world.serverAheadMs = ahead;
      await redemption.release(["pan"]);
      expect(redemption.windowEndsAt).toBe(world.now() + 60_000);
    },
  );

  it("lets a field be asked for again for 30 s", async () => {
    expect(redemption.offers(["pan"])).toBe(true);
    await redemption.release(["pan"]);
    world.advance(29_999);
    expect(redemption.offers(["pan"])).toBe(true);
    expect(redemption.offers(["cvv", "pan"])).toBe(true);
    world.advance(1);
    expect(redemption.offers(["pan"])).toBe(false);
    expect(redemption.offers(["cvv", "pan"])).toBe(false);
  });

  it("lets another field be asked for until it ends", async () => {
    await redemption.release(["pan"]);
    world.advance(59_999);
    expect(redemption.offers(["cvv"])).toBe(true);
    world.advance(1);
    expect(redemption.offers(["cvv"])).toBe(false);
  });

  it("and three times at most, another field not counted", async () => {
    await redemption.release(["pan"]);
    await redemption.release(["cvv"]);
    for (let times = 0; times < 3; times += 1) {
      expect(redemption.offers(["pan"])).toBe(true);
      await redemption.release(["pan"]);
    }
    expect(redemption.offers(["pan"])).toBe(false);
  });
});

describe("report", () => {
  it("says nothing before there is a redemption", () => {
    redemption.report("hidden");
    expect(world.events).toEqual([]);
  });

  it("tries `displayed` twice and the others once", async () => {
    await redemption.release(["pan"]);
    world.eventFates = ["lose", "lose", 503, "lose"];
    redemption.report("displayed");
    await settled();
    redemption.report("hidden");
    redemption.report("copied", "pan");
    await settled();
    const common = { redemption: "rdm_1", token: TOKEN };
    expect(world.events).toEqual([
      { ...common, event: "displayed" },
      { ...common, event: "displayed" },
      { ...common, event: "hidden" },
      { ...common, event: "copied", field: "pan" },
    ]);
  });

  /** All of the fake network is promises, so one task is enough for it to come to rest. */
  const settled = () => new Promise((done) => setTimeout(done));
});
