/** The published types are written by hand: this holds them to the protocol. */
import { COPYABLE, type Copyable, ERROR_CODES, type ErrorCode, type Field, FIELDS } from "@cardveil/protocol";
import { expect, expectTypeOf, it } from "vitest";
import type { CardErrorCode, CardEvents, CardveilField } from "../src/api.ts";

it("name what the protocol names", () => {
  expectTypeOf<CardveilField>().toEqualTypeOf<Field>();
  expectTypeOf<CardErrorCode>().toEqualTypeOf<ErrorCode>();
  expectTypeOf<CardEvents["copied"]["field"]>().toEqualTypeOf<Copyable>();
  expect([FIELDS.length, ERROR_CODES.length, COPYABLE.length]).toEqual([4, 15, 2]);
});
