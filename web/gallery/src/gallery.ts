/**
 * The page around the specimens. `?only=states`, `?theme=dark` and `?lang=ar` choose what is seen,
 * and how.
 */
import { ERROR_CODES, WARNING_CODES } from "@cardveil/protocol";
import { SECTIONS, type Specimen } from "./specimens.ts";

const query = new URLSearchParams(location.search);
const only = query.get("only");
const theme = query.get("theme");
const lang = query.get("lang");
if (theme !== null) document.documentElement.dataset["theme"] = theme;
// The page's own words stay English; it turns around to show that the frames do.
if (lang === "ar") document.documentElement.dir = "rtl";

const stage = document.querySelector("main");
for (const [name, { title, specimens }] of Object.entries(SECTIONS)) {
  if (only !== null && only !== name) continue;
  const section = document.createElement("section");
  section.id = name;
  const heading = document.createElement("h2");
  heading.textContent = title;
  const list = document.createElement("div");
  list.className = name === "parts" ? "specimens small" : "specimens";
  list.append(...specimens.map((specimen, index) => figure(`${name}.${index}`, specimen)));
  section.append(heading, list);
  if (name === "failures") section.append(codes());
  stage?.append(section);
}

function figure(of: string, { title, appearance }: Specimen): HTMLElement {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  const frame = document.createElement("iframe");
  frame.title = `${of.split(".", 1)[0]}: ${title}`;
  // Paper of the specimen's own scheme, where it has one.
  if (appearance?.theme !== undefined) frame.dataset["theme"] = appearance.theme;
  const settings = new URLSearchParams({ of });
  if (theme !== null) settings.set("theme", theme);
  if (lang !== null) settings.set("lang", lang);
  frame.src = `/gallery/specimen?${settings}`;
  figure.append(caption, frame);
  return figure;
}

/** Every code that a page's handler may get; what to do is in docs/integrate/sdk-errors.md. */
function codes(): HTMLElement {
  const note = document.createElement("p");
  note.className = "codes";
  for (const code of [...ERROR_CODES, ...WARNING_CODES]) {
    const name = document.createElement("code");
    name.textContent = code;
    note.append(name, " ");
  }
  return note;
}
