/**
 * What the types let an app write and what not; the compiler holds each `@ts-expect-error` to its
 * line.
 */
import { CardveilCard, CardveilPart, type CardveilCardProps } from "@cardveil/react";
import { expect, expectTypeOf, it } from "vitest";

it("let an app write what works, and refuse what does not", () => {
  const works = (
    <CardveilCard
      embed="emb_1"
      token={async () => "t"}
      onCopied={({ field }) =>
        expectTypeOf(field).toEqualTypeOf<"pan" | "expiry" | "cvv" | "name">()
      }
    />
  );
  const wrong = [
    // @ts-expect-error the token is required
    <CardveilCard embed="emb_1" />,
    // @ts-expect-error there is no such field
    <CardveilCard embed="emb_1" token="t" fields={["pin"]} />,
    // @ts-expect-error there is no such part
    <CardveilPart name="pin" />,
    // @ts-expect-error no style sheets
    <CardveilCard embed="emb_1" token="t" appearance={{ css: "body {}" }} />,
  ];
  expectTypeOf<CardveilCardProps["token"]>().toEqualTypeOf<
    string | (() => string | Promise<string>)
  >();
  expect([works, ...wrong]).toHaveLength(5);
});
