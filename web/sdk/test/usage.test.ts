/**
 * What the types let a page write and what not; the compiler holds each `@ts-expect-error` to its
 * line.
 */
import {
  Cardveil,
  type CardChanges,
  type CardError,
  type CardOptions,
  type DoctorReport,
} from "@cardveil/js";
import * as pure from "@cardveil/js/pure";
import { expect, expectTypeOf, it } from "vitest";

const veil = Cardveil({ embed: "emb_1", clientUrl: "https://cards.example.com" });

it("let a page write what works", () => {
  const options: CardOptions = {
    token: async () => "cvt_test_1",
    fields: ["pan", "expiry"] as const,
    masked: true,
    copy: ["pan"],
    appearance: {
      theme: "dark",
      accent: "#112233",
      text: { fontSize: 16, textAlign: "end" },
      colors: { ink: "#000000" },
    },
    labels: { hide: "Hide it" },
  };
  const card = veil.card(options);
  const mount = () => card.mount("#card", "pan", { transparent: true });
  expectTypeOf(mount).returns.toEqualTypeOf<() => void>();
  card.on("error", (error) => expectTypeOf(error).toEqualTypeOf<CardError>());
  card.on("copied", ({ field }) =>
    expectTypeOf(field).toEqualTypeOf<"pan" | "expiry" | "cvv" | "name">(),
  );
  expectTypeOf(card.update).parameter(0).toEqualTypeOf<CardChanges>();
  card.update({ appearance: { theme: "light" }, locale: undefined });
  card.on("hidden", (nothing) => expectTypeOf(nothing).toEqualTypeOf<void>());
  expectTypeOf(veil.doctor).returns.resolves.toEqualTypeOf<DoctorReport>();
  expectTypeOf(pure.Cardveil).toEqualTypeOf(Cardveil);
  expectTypeOf(pure.defineCardveilElement).toEqualTypeOf<() => void>();
  expectTypeOf<HTMLElementTagNameMap["cardveil-card"]["token"]>().toEqualTypeOf<
    CardOptions["token"] | null
  >();
  card.destroy();
});

it("refuse what does not", () => {
  const wrong = (...calls: (() => unknown)[]) => {
    for (const call of calls) expect(call).toThrow(expect.objectContaining({ code: "bad_option" }));
  };
  wrong(
    // @ts-expect-error the embed is required
    () => Cardveil({}),
    // @ts-expect-error the token is required
    () => veil.card({}),
    // @ts-expect-error a token is text
    () => veil.card({ token: 4111 }),
    // @ts-expect-error there is no such field
    () => veil.card({ token: "t", fields: ["pin"] }),
    // @ts-expect-error colours are no style sheets
    () => veil.card({ token: "t", appearance: { theme: "neon" } }),
    // @ts-expect-error a number of seconds
    () => veil.card({ token: "t", hideAfter: "60" }),
    // @ts-expect-error there is no such part
    () => veil.card({ token: "t" }).mount(document.body, "pin"),
    // @ts-expect-error what is fetched is another card's affair
    () => veil.card({ token: "t" }).update({ fields: ["pan"] }),
    // @ts-expect-error there is no such event
    () => veil.card({ token: "t" }).on("shown", () => {}),
  );
  // @ts-expect-error no handler is told a card number
  veil.card({ token: "t" }).on("revealed", ({ pan }) => pan);
  // @ts-expect-error a token function gives text
  veil.card({ token: async () => ({ token: "cvt_test_1" }) }).destroy();
});
