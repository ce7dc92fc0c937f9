// Packs the packages as they would be published, unpacks them where nothing else of ours is, and
// uses them there.
import { execFileSync, spawnSync } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
process.chdir(here);

const PUBLISHED = {
  sdk: [
    "LICENSE",
    "README.md",
    "package.json",
    "dist/cardveil.d.ts",
    "dist/cardveil.iife.js",
    "dist/cardveil.js",
    "dist/jsx.d.ts",
    "dist/marqeta.js",
    "dist/pure.d.ts",
    "dist/pure.js",
  ],
  react: [
    "LICENSE",
    "README.md",
    "package.json",
    "dist/card.d.ts",
    "dist/index.d.ts",
    "dist/index.js",
    "dist/parts.d.ts",
    "dist/whole.d.ts",
  ],
  "react-native": ["LICENSE", "README.md", "package.json", "dist/index.d.ts", "dist/index.js"],
};

const app = await mkdtemp(join(tmpdir(), "cardveil-packages-"));
try {
  for (const [folder, expected] of Object.entries(PUBLISHED)) {
    // Its scripts would build; that was done.
    const [{ name, filename, files, size }] = Object.values(
      JSON.parse(
        run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", app], {
          cwd: folder,
        }),
      ),
    );
    const packed = files.map(({ path }) => path).sort();
    if (packed.join() !== [...expected].sort().join())
      throw new Error(`${name} would publish ${packed.join(", ")}`);
    const into = join(app, "node_modules", name);
    await mkdir(into, { recursive: true });
    run("tar", ["-xzf", join(app, filename), "-C", into, "--strip-components=1"]);
    // All that publishing would do but the upload: fields that the registry would refuse or lose
    // are told here.
    const { status, stderr } = spawnSync(
      "npm",
      ["publish", "--dry-run", "--ignore-scripts", "--offline"],
      { cwd: folder, encoding: "utf8" },
    );
    if (status !== 0 || /auto-corrected|errors corrected/i.test(stderr))
      throw new Error(`npm publish --dry-run of ${name}:\n${stderr}`);
    console.log(`${name}: ${packed.length} files, ${size} bytes`);
  }
  for (const name of ["react", "react-dom", "scheduler", "@types", "csstype"])
    await symlink(join(here, "node_modules", name), join(app, "node_modules", name));

  // On a server: plain Node, without a browser.
  await writeFile(join(app, "package.json"), '{ "type": "module" }');
  await writeFile(join(app, "server.js"), SERVER());
  run(process.execPath, ["server.js"], { cwd: app });

  // By the types that are published, in both ways of finding them.
  for (const [folder, test] of [
    ["sdk", "usage.test.ts"],
    ["sdk", "jsx.test.tsx"],
    ["react", "usage.test.tsx"],
  ])
    await cp(`${folder}/test/${test}`, join(app, `${folder}-${test}`));
  await symlink(join(here, "node_modules", "vitest"), join(app, "node_modules", "vitest"));
  for (const [module, moduleResolution] of [
    ["nodenext", "nodenext"],
    ["esnext", "bundler"],
  ]) {
    const compilerOptions = {
      module,
      moduleResolution,
      target: "es2022",
      lib: ["es2022", "dom", "dom.iterable"],
      jsx: "react-jsx",
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      types: [],
    };
    await writeFile(
      join(app, "tsconfig.json"),
      JSON.stringify({ compilerOptions, include: ["*.ts", "*.tsx"] }),
    );
    run(join(here, "node_modules/.bin/tsc"), ["-p", app]);
  }
} finally {
  await rm(app, { recursive: true });
}

function SERVER() {
  return `
import assert from "node:assert/strict";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import * as js from "@cardveil/js";
import * as pure from "@cardveil/js/pure";
import * as cardveil from "@cardveil/react";
assert.deepEqual(Object.keys(js), ["Cardveil"]);
for (const [name, file] of [["iife", "cardveil.iife.js"], ["marqeta", "marqeta.js"]]) assert.ok(import.meta.resolve("@cardveil/js/" + name).endsWith("/dist/" + file));
assert.deepEqual(Object.keys(pure), ["Cardveil", "defineCardveilElement"]);
assert.deepEqual(Object.keys(cardveil), ["CardveilCard", "CardveilPart", "CardveilProvider", "useCardveil"]);
pure.defineCardveilElement();
const options = { embed: "emb_1", clientUrl: "https://cards.example.com", token: "t" };
assert.equal(renderToString(createElement(cardveil.CardveilCard, options)), '<div data-cardveil="card"></div>');
`;
}

function run(command, args, options = {}) {
  try {
    return execFileSync(command, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      ...options,
    });
  } catch (error) {
    throw new Error(`${command} ${args.join(" ")}\n${error.stdout}${error.stderr}`);
  }
}
