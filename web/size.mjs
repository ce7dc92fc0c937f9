// What a cardholder's phone has to fetch, gzipped, against its budget.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const budgets = [
  { what: "SDK (module)", file: "cardveil.js", max: 7_000 },
  { what: "SDK (pure module)", file: "pure.js", max: 7_000 },
  { what: "SDK (script)", file: "cardveil.iife.js", max: 7_000 },
  { what: "stand-in for Marqeta.js", file: "marqeta.js", max: 7_700 },
  { what: "frame", file: "frame.js", max: 18_500 },
  { what: "frame that holds", file: "holder.js", max: 16_000 },
  { what: "frame of a part", file: "part.js", max: 10_000 },
  { what: "page of an app", file: "app.js", max: 18_500 },
  { what: "frame, styles", file: "frame.css", max: 3_200 },
];
for (const { what, file, max } of budgets) {
  const bytes = gzipSync(readFileSync(new URL(`dist/${file}`, import.meta.url))).length;
  console.log(`${what}: ${bytes} of ${max} bytes`);
  if (bytes > max) process.exitCode = 1;
}
