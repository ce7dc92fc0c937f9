import { defineConfig } from "vitest/config";
import { NAMES, nameOf } from "./src/browsers/abilities.ts";

const only = process.env["BROWSER"];
const names = only === undefined ? NAMES : [nameOf(only)];

export default defineConfig({
  test: {
    root: import.meta.dirname ?? new URL(".", import.meta.url).pathname,
    // Two files at once, each with a server and a browser; each test has a visit of its own.
    maxWorkers: 2,
    // It names the tests that a browser cannot do, and why.
    reporters: ["verbose"],
    projects: names.map((name) => ({
      test: {
        name,
        include: ["tests/**/*.e2e.ts"],
        env: { BROWSER: name },
        testTimeout: 60_000,
        hookTimeout: 60_000,
      },
    })),
  },
});
