import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: import.meta.dirname ?? new URL(".", import.meta.url).pathname,
    include: ["tests/**/*.e2e.ts"],
    // One server and one browser for all; each test has a context of its own.
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
