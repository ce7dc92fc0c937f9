// Writes the reference in docs/reference/sdk.md from the comments of sdk/src/api.ts, which is the
// published interface.
//
// It reads that file by its own form: what is exported stands at the margin, members are indented
// by two, comments stand before what they are about. A member that it does not understand ends the
// build.
import { readFile, writeFile } from "node:fs/promises";

const page = new URL("../docs/reference/sdk.md", import.meta.url);
const lines = (await readFile(new URL("sdk/src/api.ts", import.meta.url), "utf8")).split("\n");

const sections = [];
let doc = [];
for (let at = 0; at < lines.length; at += 1) {
  const line = lines[at];
  if (line.startsWith("/**")) [doc, at] = comment(at);
  else if (line.startsWith("export ")) {
    const [, kind, name] = /^export (interface|type) (\w+)/.exec(line) ?? fail(at);
    let end = at;
    while (kind === "interface" ? lines[end] !== "}" : !ends(at, end)) end += 1;
    const text = lines.slice(at, end + 1);
    sections.push(
      [
        `## \`${name}\``,
        ...(doc.length > 0 ? [doc.join(" ")] : []),
        kind === "interface" ? members(at + 1, end) : code(text),
      ].join("\n\n"),
    );
    [doc, at] = [[], end];
  } else doc = [];
}

const [before, after] = ["<!-- generated from web/sdk/src/api.ts -->", "<!-- end -->"];
const old = await readFile(page, "utf8");
const [start, end] = [old.indexOf(before), old.indexOf(after)];
if (start < 0 || end < start)
  throw new Error("docs/reference/sdk.md has no place for the reference");
await writeFile(
  page,
  `${old.slice(0, start)}${before}\n\n${sections.join("\n\n")}\n\n${old.slice(end)}`,
);

/** A comment that begins at a line, and the line it ends on. */
function comment(at) {
  let end = at;
  while (!lines[end].endsWith("*/")) end += 1;
  const text = lines
    .slice(at, end + 1)
    .map((line) => line.replace(/^\s*(\/\*\*|\*\/|\*)?\s?/, "").replace(/\s*\*\/$/, ""));
  return [text.filter((line) => line.trim() !== ""), end];
}

function members(from, to) {
  const rows = [];
  let doc = [];
  for (let at = from; at < to; at += 1) {
    if (lines[at].startsWith("  /**")) {
      [doc, at] = comment(at);
      continue;
    }
    let end = at;
    while (!ends(at, end)) end += 1;
    // Comments within a member's own type are told with it.
    const inner = lines.slice(at, end + 1).filter((line) => !/^\s*(\/\*\*|\*)/.test(line));
    const text = inner
      .map((line) => line.trim())
      .join(" ")
      .replace(/;$/, "")
      .replace(/: \| /, ": ")
      .replaceAll(/\( | (?=\))/g, (space) => space.trim())
      .replaceAll(",)", ")");
    const [, name, optional, type] =
      /^(?:readonly )?(\w+)(\??)(?:: |(?=[(<]))(.*)$/.exec(text) ?? fail(at);
    rows.push(
      `| \`${name}${optional}\` | ${cell(type)} | ${doc.join(" ").replaceAll("|", "\\|")} |`,
    );
    [doc, at] = [[], end];
  }
  return ["| | | |", "| --- | --- | --- |", ...rows].join("\n");
}

/** Whether what begins at a line ends with another: there, all that was opened is closed. */
function ends(from, to) {
  const text = lines.slice(from, to + 1).join("\n");
  const count = (brackets) => text.match(brackets)?.length ?? 0;
  return text.endsWith(";") && count(/[({[]/g) === count(/[)}\]]/g);
}

function cell(type) {
  return `\`${type.replaceAll("|", "\\|")}\``;
}

function code(text) {
  return ["```ts", ...text.filter((line) => !/^\s*(\/\*\*|\*)/.test(line)), "```"].join("\n");
}

function fail(at) {
  throw new Error(`api.ts:${at + 1}: ${lines[at]}`);
}
