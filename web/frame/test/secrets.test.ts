import { describe, expect, it } from "vitest";
import { groups, parseSecrets } from "../src/secrets.ts";

describe("groups", () => {
  it.each([
    ["4111111111111111", "visa", "4111 1111 1111 1111"],
    ["5555555555554444", "mastercard", "5555 5555 5555 4444"],
    ["378282246310005", "amex", "3782 822463 10005"],
    ["36227206271667", "diners", "3622 720627 1667"],
    ["6212345678901232123", "unionpay", "6212 3456 7890 1232 123"],
    ["4222222222222", "visa", "4222 2222 2222 2"],
    ["50339619890917", "maestro", "5033 961989 0917"],
    ["12345678", "unknown", "1234 5678"],
  ])("%s on %s", (pan, network, printed) => {
    expect(groups(pan, network).join(" ")).toBe(printed);
  });

  it("loses no digit at any length", () => {
    for (let length = 8; length <= 19; length += 1) {
      const pan = "1234567890123456789".slice(0, length);
      for (const network of ["visa", "amex", ""]) expect(groups(pan, network).join("")).toBe(pan);
    }
  });
});

describe("parseSecrets", () => {
  const whole = {
    pan: "4111111111111111",
    expiry: { month: "12", year: "2030" },
    cvv: "123",
    name: "A CARDHOLDER",
  };

  it("takes what was asked and leaves the rest", () => {
    expect(parseSecrets(JSON.stringify(whole), ["pan", "expiry", "cvv", "name"])).toEqual(whole);
    expect(parseSecrets(JSON.stringify(whole), ["cvv"])).toEqual({ cvv: "123" });
  });

  it.each([
    ["a missing field", { ...whole, pan: undefined }],
    ["a number for a string", { ...whole, pan: 4111111111111111 }],
    ["separators", { ...whole, pan: "4111 1111 1111 1111" }],
    ["20 digits", { ...whole, pan: "1".repeat(20) }],
    ["month 13", { ...whole, expiry: { month: "13", year: "2030" } }],
    ["a short year", { ...whole, expiry: { month: "12", year: "30" } }],
    ["no expiry", { ...whole, expiry: null }],
    ["a five digit CVV", { ...whole, cvv: "12345" }],
    ["a name with a newline", { ...whole, name: "A\nB" }],
    ["an empty name", { ...whole, name: "" }],
  ])("refuses %s", (_, data) => {
    expect(() => parseSecrets(JSON.stringify(data), ["pan", "expiry", "cvv", "name"])).toThrow(
      TypeError,
    );
  });

  it("refuses what is no JSON", () => {
    expect(() => parseSecrets("4111", ["pan"])).toThrow();
    expect(() => parseSecrets("{", ["pan"])).toThrow();
  });
});
