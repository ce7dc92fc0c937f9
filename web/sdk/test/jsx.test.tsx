/**
 * What the types let an app write with the element; the compiler holds each `@ts-expect-error` to
 * its line.
 */
import type { CardError, CardveilCardElement, CardveilField } from "@cardveil/js";
import type {} from "@cardveil/js/jsx";
import { expect, expectTypeOf, it } from "vitest";

it("let React's JSX write what works, and refuse what does not", () => {
  const works = (
    <cardveil-card
      embed="emb_1"
      token={async () => "t"}
      masked={true}
      hide-after={30}
      theme="dark"
      appearance={{ radius: 3 }}
      className="mine"
      onrevealed={({ detail }) => expectTypeOf(detail.fields).toEqualTypeOf<CardveilField[]>()}
    >
      <cardveil-part name="copy-pan" transparent="" />
    </cardveil-card>
  );
  const wrong = [
    // @ts-expect-error there is no such theme
    <cardveil-card theme="neon" />,
    // @ts-expect-error there is no such part
    <cardveil-part name="pin" />,
    // @ts-expect-error no handler is told a card number
    <cardveil-card onrevealed={({ detail }) => detail.pan} />,
    // @ts-expect-error no style sheets
    <cardveil-card appearance={{ css: "body {}" }} />,
  ];
  expect([works, ...wrong]).toHaveLength(5);
});

it("tell a listener what an event carries", () => {
  const listen = (element: CardveilCardElement) => {
    element.addEventListener("error", ({ detail }) =>
      expectTypeOf(detail).toEqualTypeOf<CardError>(),
    );
    element.addEventListener("copied", function ({ detail }) {
      expectTypeOf(this).toEqualTypeOf<CardveilCardElement>();
      expectTypeOf(detail.field).toEqualTypeOf<"pan" | "expiry" | "cvv" | "name">();
    });
    element.addEventListener("click", (event) => expectTypeOf(event).toEqualTypeOf<PointerEvent>());
    element.addEventListener("of-the-page", (event) => expectTypeOf(event).toEqualTypeOf<Event>());
  };
  expect(listen).toBeTypeOf("function");
});
