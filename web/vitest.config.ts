import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{protocol,frame,sdk}/test/**/*.test.ts"],
    environment: "happy-dom",
    restoreMocks: true,
  },
});
