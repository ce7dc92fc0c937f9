// Writes the bundles to dist/, which is committed: the server embeds them, so that it builds with
// Rust alone. The same sources give the same bytes. No path, date or name of this machine goes in.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
process.chdir(here);
await rm("dist", { recursive: true, force: true });
await mkdir("dist");

const common = {
  tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
  bundle: true,
  minify: true,
  charset: "utf8",
  legalComments: "none",
  // A library's errors are told by their kind; no stack of theirs is ever read.
  define: { "Error.captureStackTrace": "undefined" },
  // Members by which the HPKE library knows its own, and that nothing outside of a bundle sees.
  mangleProps:
    /^((Des|S)erialize(Private|Public)Key|(Generate|Derive)KeyPair|Setup(Sender|Recipient)|(Send|Receive)Export|(encapsulated|exported)Secret|exporter_secret|shared_secret|base_nonce|max_seq|suite_id|bitmask|Nsecret|Nenc|Npk|Nsk|(En|De)cap|Extract|Expand|Export|Derive|Seal|Open|stages)$/,
  target: ["es2022"],
  logLevel: "warning",
};

/** One script of `dist/`: bundled by the one, made small by both. Answers with its bytes. */
async function script(
  file,
  entry,
  format,
  { define = {}, banner = "/*! Cardveil, Apache-2.0 */" } = {},
) {
  const { outputFiles } = await build({
    ...common,
    define: { ...common.define, ...define },
    entryPoints: [entry],
    format,
    write: false,
  });
  const { code, errors } = await minify(file, outputFiles[0].text, {
    module: format === "esm",
    compress: { target: "es2022" },
    mangle: { toplevel: true },
    codegen: { removeWhitespace: true, legalComments: "none" },
  });
  if (errors.length > 0) throw new AggregateError(errors, file);
  const bytes = `${banner}${banner === "" ? "" : "\n"}${code}\n`;
  await writeFile(`dist/${file}`, bytes);
  return bytes;
}

/** As an `integrity` attribute names it. */
const integrity = (bytes) => `sha256-${createHash("sha256").update(bytes).digest("base64")}`;

const withOthers = { banner: "/*! Cardveil, Apache-2.0; see LICENSES.txt */" };
const doctor = await script("doctor.js", "sdk/src/doctor.ts", "esm");
const bound = { define: { DOCTOR_INTEGRITY: JSON.stringify(integrity(doctor)) } };
await Promise.all([
  script("frame.js", "frame/src/entry/card.ts", "iife", withOthers),
  script("holder.js", "frame/src/entry/holder.ts", "iife", withOthers),
  script("boot.js", "frame/src/entry/boot.ts", "iife", { banner: "" }),
  script("code.js", "frame/src/entry/code.ts", "iife"),
  script("part.js", "frame/src/entry/part.ts", "iife"),
  script("app.js", "frame/src/entry/app.ts", "iife", withOthers),
  script("gallery.js", "gallery/src/gallery.ts", "esm", bound),
  script("specimen.js", "gallery/src/specimen.ts", "esm", bound),
  script("reference.js", "reference/src/start.ts", "iife"),
  script("cardveil.js", "sdk/src/esm.ts", "esm", bound),
  script("pure.js", "sdk/src/pure.ts", "esm", bound),
  script("cardveil.iife.js", "sdk/src/iife.ts", "iife", bound),
  script("marqeta.js", "sdk/src/marqeta.ts", "iife", bound),
  build({ ...common, entryPoints: ["frame/src/frame.css"], outfile: "dist/frame.css" }),
]);

// A file for each language, so that nobody's phone fetches the others.
const words = await build({
  ...common,
  write: false,
  entryPoints: ["frame/src/words/all.ts"],
  format: "esm",
});
const { LANGUAGES } = await import(
  `data:text/javascript;base64,${Buffer.from(words.outputFiles[0].contents).toString("base64")}`
);
await mkdir("dist/words");
for (const [lang, said] of Object.entries(LANGUAGES))
  await writeFile(`dist/words/${lang}.json`, `${JSON.stringify({ lang, ...said })}\n`);

execFileSync("node_modules/.bin/tsc", ["-p", "sdk/tsconfig.types.json"], { stdio: "inherit" });
await rename("dist/api.d.ts", "dist/cardveil.d.ts");
const types = await readFile("dist/cardveil.d.ts", "utf8");
await writeFile("dist/cardveil.d.ts", `${types}export declare const Cardveil: CardveilFactory;\n`);

const jsx = await readFile("dist/jsx.d.ts", "utf8");
await writeFile("dist/jsx.d.ts", jsx.replace("./api.ts", "./cardveil.js"));

await writeFile(
  "dist/pure.d.ts",
  `import type { CardveilFactory } from "./cardveil.js";
export type * from "./cardveil.js";
export declare const Cardveil: CardveilFactory;
/** Defines \`<cardveil-card>\`, once, where there are elements at all. */
export declare const defineCardveilElement: () => void;
`,
);

// The npm package holds the same bytes that the server serves.
await rm("sdk/dist", { recursive: true, force: true });
await mkdir("sdk/dist");
for (const file of [
  "cardveil.js",
  "cardveil.iife.js",
  "pure.js",
  "marqeta.js",
  "cardveil.d.ts",
  "pure.d.ts",
  "jsx.d.ts",
])
  await copyFile(`dist/${file}`, `sdk/dist/${file}`);
await copyFile("../LICENSE", "sdk/LICENSE");

// For React: both packages of it stay outside, so that an app has one of each.
await rm("react/dist", { recursive: true, force: true });
await build({
  ...common,
  minify: false,
  banner: { js: '"use client";' },
  entryPoints: ["react/src/index.tsx"],
  outfile: "react/dist/index.js",
  format: "esm",
  jsx: "automatic",
  external: ["react", "react/*", "@cardveil/js/pure"],
});
execFileSync("node_modules/.bin/tsc", ["-p", "react/tsconfig.types.json"], { stdio: "inherit" });
await copyFile("../LICENSE", "react/LICENSE");

await rm("react-native/dist", { recursive: true, force: true });
await build({
  ...common,
  minify: false,
  entryPoints: ["react-native/src/index.tsx"],
  outfile: "react-native/dist/index.js",
  format: "esm",
  jsx: "automatic",
  external: ["react", "react/*", "react-native", "react-native-webview"],
});
execFileSync("node_modules/.bin/tsc", ["-p", "react-native/tsconfig.types.json"], {
  stdio: "inherit",
});
await copyFile("../LICENSE", "react-native/LICENSE");

// The page that renders the API's description for operators: a library's own bundle, but for the
// logo that it would fetch from its maker.
const redoc = await readFile("node_modules/redoc/bundles/redoc.standalone.js", "utf8");
await writeFile(
  "dist/redoc.js",
  redoc.replaceAll("https://cdn.redoc.ly/redoc/logo-mini.svg", "data:,"),
);

const parts = {
  hpke: ["frame.js, holder.js and app.js", "LICENSE.md"],
  redoc: ["redoc.js", "LICENSE"],
};
const licenses = await Promise.all(
  Object.entries(parts).map(async ([name, [file, license]]) => {
    const { version } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version}, in ${file}\n\n${await readFile(`node_modules/${name}/${license}`, "utf8")}`;
  }),
);
const inside = await readFile("node_modules/redoc/bundles/redoc.standalone.js.LICENSE.txt", "utf8");
licenses.push(`What redoc.js holds of others\n\n${inside}`);
await writeFile("dist/LICENSES.txt", licenses.join("\n----\n\n"));

// The server writes both into its page as they are.
for (const file of [
  "boot.js",
  "frame.js",
  "holder.js",
  "part.js",
  "app.js",
  "code.js",
  "frame.css",
]) {
  const text = await readFile(`dist/${file}`, "utf8");
  if (/<\/script|<\/style|<!--/i.test(text)) throw new Error(`dist/${file} could end its element`);
}
