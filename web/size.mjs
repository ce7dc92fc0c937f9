// What a cardholder's phone has to fetch, compressed as served, against its budget.
import { readFileSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";

const budgets = [
  { what: "SDK (module)", files: ["cardveil.js"], max: 8_045 },
  { what: "SDK (pure module)", files: ["pure.js"], max: 8_085 },
  { what: "SDK (script)", files: ["cardveil.iife.js"], max: 8_105 },
  { what: "stand-in for Marqeta.js", files: ["marqeta.js"], max: 8_510 },
  { what: "a view", files: ["frame.js", "frame.css", "words/de.json"], max: 19_995 },
  {
    what: "a view in parts",
    files: ["holder.js", "part.js", "frame.css", "words/de.json"],
    max: 24_500,
  },
  { what: "what asks for a second factor", files: ["code.js"], max: 5_200 },
  { what: "page of an app", files: ["app.js", "frame.css", "words/de.json"], max: 20_205 },
];
for (const { what, files, max } of budgets) {
  const sizes = files.map(
    (file) => brotliCompressSync(readFileSync(new URL(`dist/${file}`, import.meta.url))).length,
  );
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  console.log(`${what}: ${bytes} of ${max} bytes (${files.join(", ")})`);
  if (bytes > max) process.exitCode = 1;
}
