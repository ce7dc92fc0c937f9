/** The published types are written by hand: this holds them to the protocol. */
import {
  ERROR_CODES,
  type ErrorCode,
  type Field,
  FIELDS,
  type Part,
  PARTS,
  WARNING_CODES,
  type WarningCode,
} from "@cardveil/protocol";
import { expect, expectTypeOf, it } from "vitest";
import type {
  CardErrorCode,
  CardEvents,
  CardveilField,
  CardveilPart,
  CardWarning,
} from "../src/api.ts";

it("name what the protocol names", () => {
  expectTypeOf<CardveilField>().toEqualTypeOf<Field>();
  expectTypeOf<CardErrorCode>().toEqualTypeOf<ErrorCode>();
  expectTypeOf<CardveilPart>().toEqualTypeOf<Part>();
  expectTypeOf<CardWarning["code"]>().toEqualTypeOf<WarningCode>();
  expectTypeOf<CardEvents["copied"]["field"]>().toEqualTypeOf<Field>();
  expect([FIELDS.length, PARTS.length, ERROR_CODES.length, WARNING_CODES.length]).toEqual([
    4, 10, 19, 6,
  ]);
});
