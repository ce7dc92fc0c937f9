import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

// Otherwise Vue looks for a component of that name, and warns.
const isCustomElement = (tag) => tag.startsWith("cardveil-");

export default defineConfig({
  plugins: [vue({ template: { compilerOptions: { isCustomElement } } })],
  build: { rolldownOptions: { input: "main.js", output: { entryFileNames: "main.js" } } },
});
