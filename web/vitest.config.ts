import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  // The sources of our packages, by the names that others know them by.
  resolve: {
    alias: [
      { find: /^@cardveil\/js$/, replacement: at("sdk/src/esm.ts") },
      { find: /^@cardveil\/js\/pure$/, replacement: at("sdk/src/pure.ts") },
      { find: /^@cardveil\/react$/, replacement: at("react/src/index.tsx") },
      // Other people's, which an app brings and a phone runs.
      { find: /^react-native$/, replacement: at("react-native/test/react-native.ts") },
      {
        find: /^react-native-webview$/,
        replacement: at("react-native/test/react-native-webview.tsx"),
      },
    ],
  },
  define: { DOCTOR_INTEGRITY: JSON.stringify("sha384-of-the-doctor") },
  test: {
    include: ["{protocol,frame,sdk,react,react-native,reference}/test/**/*.test.{ts,tsx}"],
    environment: "happy-dom",
    restoreMocks: true,
  },
});
