// @vitest-environment node
import { readFileSync } from "node:fs";
import { ERROR_CODES, WARNING_CODES } from "@cardveil/protocol";
import { expect, it } from "vitest";

it("has a section in docs/integrate/sdk-errors.md for every error and warning", () => {
  const page = readFileSync(
    new URL("../../../docs/integrate/sdk-errors.md", import.meta.url),
    "utf8",
  );
  const found = [...page.matchAll(/^### (\w+)\n\n(?:.+\n)+\n\*\*What to do\.\*\* .+/gm)].map(
    ([, code]) => code,
  );
  expect(found.sort()).toEqual([...ERROR_CODES, ...WARNING_CODES].sort());
});
