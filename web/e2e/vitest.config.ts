import { defineConfig } from "vitest/config";
import { NAMES, nameOf } from "./src/browsers/abilities.ts";

const only = process.env["BROWSER"];
const names = only === undefined ? NAMES : [nameOf(only)];

export default defineConfig({
  test: {
    root: import.meta.dirname ?? new URL(".", import.meta.url).pathname,
    // Files at once, each with a server and a browser: one more than CI has cores, as each waits.
    maxWorkers: 3,
    // It names the tests that a browser cannot do, and why.
    reporters: ["verbose"],
    projects: names.map((name) => ({
      test: {
        name,
        include: ["tests/**/*.e2e.ts"],
        env: { BROWSER: name },
        // The modules of src/ keep nothing of a test but the browser, so a worker loads them once.
        isolate: false,
        runner: "./src/runner.ts",
        testTimeout: 60_000,
        hookTimeout: 60_000,
      },
    })),
  },
});
