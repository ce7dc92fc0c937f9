// Writes the bundles to dist/, which is committed: the server embeds them, so that it builds with Rust alone.
// The same sources give the same bytes. No path, date or name of this machine goes in.
import { execFileSync } from "node:child_process";
import { copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
process.chdir(here);
await rm("dist", { recursive: true, force: true });
await mkdir("dist");

const common = { bundle: true, minify: true, charset: "utf8", legalComments: "none", target: ["es2022"], logLevel: "warning" };
const banner = { js: "/*! Cardveil, Apache-2.0. Third parties: LICENSES.txt */" };
await Promise.all([
  // `crypto` is what @hpke/core falls back to on old Node; no browser gets there.
  build({ ...common, banner, entryPoints: ["frame/src/main.ts"], outfile: "dist/frame.js", format: "iife", external: ["crypto"] }),
  build({ ...common, entryPoints: ["frame/src/frame.css"], outfile: "dist/frame.css" }),
  build({ ...common, banner, entryPoints: ["sdk/src/esm.ts"], outfile: "dist/cardveil.js", format: "esm" }),
  build({ ...common, banner, entryPoints: ["sdk/src/iife.ts"], outfile: "dist/cardveil.iife.js", format: "iife" }),
]);

execFileSync("node_modules/.bin/tsc", ["-p", "sdk/tsconfig.types.json"], { stdio: "inherit" });
await rename("dist/api.d.ts", "dist/cardveil.d.ts");
const types = await readFile("dist/cardveil.d.ts", "utf8");
const values = `export declare const Cardveil: CardveilFactory;
declare global {
    interface Window {
        Cardveil?: CardveilFactory;
    }
    interface HTMLElementTagNameMap {
        "cardveil-card": CardveilCardElement;
    }
}
`;
await writeFile("dist/cardveil.d.ts", types + values);

// The page that renders the API's description for operators: a library's own bundle, as it is.
await copyFile("node_modules/redoc/bundles/redoc.standalone.js", "dist/redoc.js");

const parts = { "@hpke/core": "frame.js", "@hpke/common": "frame.js", redoc: "redoc.js" };
const licenses = await Promise.all(
  Object.entries(parts).map(async ([name, file]) => {
    const { version } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version}, in ${file}\n\n${await readFile(`node_modules/${name}/LICENSE`, "utf8")}`;
  }),
);
const inside = await readFile("node_modules/redoc/bundles/redoc.standalone.js.LICENSE.txt", "utf8");
licenses.push(`What redoc.js holds of others\n\n${inside}`);
await writeFile("dist/LICENSES.txt", licenses.join("\n----\n\n"));

// The server writes both into its page as they are.
for (const [file, end] of [["frame.js", "</script"], ["frame.js", "<!--"], ["frame.css", "</style"]]) {
  const text = await readFile(`dist/${file}`, "utf8");
  if (text.toLowerCase().includes(end)) throw new Error(`dist/${file} holds ${end}`);
}
