// @vitest-environment node
import { renderToString } from "react-dom/server";
import { expect, it } from "vitest";
import { CardveilCard, CardveilPart, CardveilProvider } from "../src/index.tsx";

it("renders a place for the card where there is no browser", () => {
  expect(typeof document).toBe("undefined");
  const options = {
    embed: "emb_1",
    clientUrl: "https://cards.example.com",
    token: () => expect.unreachable(),
  };
  expect(renderToString(<CardveilCard {...options} className="card" />)).toBe(
    '<div class="card" data-cardveil="card"></div>',
  );
  const parts = (
    <CardveilProvider {...options}>
      <CardveilPart name="pan" />
    </CardveilProvider>
  );
  expect(renderToString(parts)).toBe('<div data-cardveil="pan"></div>');
});
