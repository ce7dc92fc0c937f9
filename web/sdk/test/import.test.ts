// @vitest-environment node
/** What importing the published bundles does where there is no browser: nothing. */
import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";

const run = (script: string) =>
  execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
const bundle = (name: string) =>
  JSON.stringify(new URL(`../../dist/${name}`, import.meta.url).href);

it.each(["cardveil.js", "pure.js"])("%s changes nothing where there is no document", (name) => {
  const script = `
    const before = Object.getOwnPropertyNames(globalThis).join();
    const { Cardveil } = await import(${bundle(name)});
    const veil = Cardveil({ embed: "emb_1", clientUrl: "https://cards.example.com" });
    const card = veil.card({ token: async () => "never" });
    card.on("error", () => {});
    card.hide();
    card.destroy();
    console.log(typeof document, Object.getOwnPropertyNames(globalThis).join() === before);`;
  expect(run(script)).toBe("undefined true\n");
});

it.each([
  ["cardveil.js", ["customElements", "HTMLElement"]],
  ["pure.js", []],
])("%s touches of a browser, when imported: %j", (name, touched) => {
  // Every global that only a browser has, each of them watched.
  const script = `
    const touched = new Set();
    const watched = ["window", "document", "customElements", "HTMLElement", "location", "self", "addEventListener"];
    const values = { HTMLElement: class {}, customElements: { get: () => undefined, define: () => {} } };
    for (const name of watched) {
      Object.defineProperty(globalThis, name, { configurable: true, get() { touched.add(name); return values[name]; } });
    }
    await import(${bundle(name)});
    console.log(JSON.stringify([...touched].sort()));`;
  expect(JSON.parse(run(script))).toEqual([...(touched as string[])].sort());
});
