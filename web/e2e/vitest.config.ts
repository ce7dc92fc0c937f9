import { defineConfig } from "vitest/config";
import { NAMES, nameOf } from "./src/browsers/abilities.ts";

const only = process.env["BROWSER"];
const names = only === undefined ? NAMES : [nameOf(only)];

export default defineConfig({
  test: {
    root: import.meta.dirname ?? new URL(".", import.meta.url).pathname,
    // One server and one browser for all tests of a file; each test has a visit of its own.
    fileParallelism: false,
    // It names the tests that a browser cannot do, and why.
    reporters: ["verbose"],
    projects: names.map((name) => ({
      test: { name, include: ["tests/**/*.e2e.ts"], env: { BROWSER: name }, testTimeout: 60_000, hookTimeout: 60_000 },
    })),
  },
});
