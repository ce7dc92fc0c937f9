/** The page of the API's description: Redoc, in our colours, with a call for each operation. */
import { addSamples, type Description, placeServers } from "./samples.ts";

declare const Redoc: {
  init(description: Description, options: object, into: Element, drawn: () => void): void;
};

async function start(into: HTMLElement): Promise<void> {
  const description: Description = await (await fetch("/openapi.json")).json();
  placeServers(description, location, into.dataset["client"] ?? "");
  addSamples(description);
  new MutationObserver(() => mend(into)).observe(into, { childList: true, subtree: true });
  Redoc.init(description, OPTIONS, into, () => into.classList.add("drawn"));
}

/** What the library leaves out for those who use a keyboard or a screen reader. */
function mend(into: Element): void {
  for (const code of into.querySelectorAll<HTMLElement>("pre:not([tabindex])")) code.tabIndex = 0;
  // Its headings go from the second level to the fifth.
  for (const heading of into.querySelectorAll("h5:not([aria-level])"))
    heading.setAttribute("aria-level", "3");
}

/** Redoc works further colours out of these, so they are values, and the page is drawn in one scheme. */
const dark = matchMedia("(prefers-color-scheme: dark)");
const [INK, SOFT, LINE, PANEL, ACCENT, CODE, GOOD, BAD] = dark.matches
  ? ["#e8eaf0", "#b3b9c6", "#3a3f4b", "#1d2029", "#8fb2ff", "#0d0f14", "#6fce7d", "#ff9a94"]
  : ["#1b1f2a", "#565d6d", "#d9dce3", "#f4f5f8", "#1c4fd6", "#1b2030", "#1d7a2c", "#c4201d"];
const FONT = "system-ui, sans-serif";
const OPTIONS = {
  // Its search would need a worker from a `blob:` address; the browser's own does.
  disableSearch: true,
  expandResponses: "200,201",
  hideDownloadButton: true,
  pathInMiddlePanel: true,
  theme: {
    spacing: { sectionVertical: 24 },
    colors: {
      primary: { main: ACCENT },
      text: { primary: INK, secondary: SOFT },
      border: { dark: LINE, light: LINE },
      success: { main: GOOD },
      error: { main: BAD },
      gray: { 50: PANEL, 100: PANEL },
    },
    schema: {
      nestedBackground: PANEL,
      linesColor: LINE,
      typeNameColor: SOFT,
      typeTitleColor: SOFT,
    },
    typography: {
      fontFamily: FONT,
      headings: { fontFamily: FONT, fontWeight: "600" },
      code: { color: INK, backgroundColor: PANEL, wrap: true },
      links: { color: ACCENT, visited: ACCENT, hover: ACCENT },
    },
    sidebar: { backgroundColor: PANEL, textColor: INK, activeTextColor: ACCENT },
    rightPanel: { backgroundColor: CODE, textColor: "#ffffff" },
    codeBlock: { backgroundColor: "#12151f" },
    fab: { backgroundColor: PANEL, color: ACCENT },
  },
};

// As they would look printed on paper of the other colour.
dark.addEventListener("change", () => location.reload());

const into = document.getElementById("reference");
if (into !== null) void start(into);
