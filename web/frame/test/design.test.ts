import type { ForPage } from "@cardveil/protocol";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { attire, type RegisteredDesign } from "../src/design.ts";

const at = (name: string) => `/embed/designs/${name}.svg`;
const TIDE: RegisteredDesign = {
  name: "tide",
  network: "visa",
  light: {
    ink: "#12323a",
    veil: "#ffffff5c",
    art: at("light"),
    logo: at("logo"),
    mark: at("mark"),
  },
  dark: { ink: "#f1f6f3", veil: "#0000005c", art: at("dark") },
};
const DUNE: RegisteredDesign = {
  name: "dune",
  light: { ink: "#301010", veil: "#ffffff5c", art: at("dune") },
  dark: { ink: "#301010", veil: "#ffffff5c", art: at("dune") },
};
const VISA = { lastFour: "1111", network: "visa" };
const auto = { theme: "auto" } as const;

const html = document.documentElement;
const worn = () => html.dataset["art"];
const property = (name: string) => html.style.getPropertyValue(`--art-${name}`);

let asked: string[];
let posted: ForPage[];
/** What becomes of each picture, in the order in which they are asked for. */
let fates: Map<string, Promise<void>>;
let wear: ReturnType<typeof attire>;

beforeEach(() => {
  [asked, posted, fates] = [[], [], new Map()];
  vi.stubGlobal(
    "Image",
    class {
      src = "";
      decode() {
        asked.push(this.src);
        return fates.get(this.src) ?? Promise.resolve();
      }
    },
  );
  wear = attire({ designs: [TIDE, DUNE], fonts: [] }, (message) => posted.push(message));
});
afterEach(() => {
  vi.unstubAllGlobals();
  html.removeAttribute("style");
  html.removeAttribute("data-art");
});

it("leaves a face alone that no design is for", async () => {
  await wear(auto, { ...VISA, lastFour: "" });
  await wear({ ...auto, accent: "#112233" }, {});
  expect(asked).toEqual([]);
  expect(posted).toEqual([]);
  expect(worn() ?? "").toBe("");
});

it("puts on what the page asks for, and the card's own once it is known", async () => {
  await wear({ ...auto, design: "dune" }, { lastFour: "", network: "" });
  expect([worn(), property("art")]).toEqual(["ink veil art", `url(${at("dune")})`]);
  await wear({ ...auto, design: "dune" }, { ...VISA, design: "tide" });
  expect(worn()).toBe("ink veil art logo mark");
  expect(property("ink")).toBe("#12323a");
  expect(property("mark")).toBe(`url(${at("mark")})`);
  // The same again asks for nothing again.
  asked = [];
  await wear({ ...auto, design: "dune" }, { ...VISA, design: "tide" });
  expect(asked).toEqual([]);
  expect(posted).toEqual([]);
});

it("shows a network's mark on its own cards alone", async () => {
  await wear(auto, { lastFour: "4444", network: "mastercard", design: "tide" });
  expect(worn()).toBe("ink veil art logo");
  expect(asked).not.toContain(at("mark"));
});

it("is of the scheme that the document is in", async () => {
  html.dataset["theme"] = "dark";
  await wear(auto, { ...VISA, design: "tide" });
  expect([worn(), property("ink")]).toEqual(["ink veil art", "#f1f6f3"]);
  html.dataset["theme"] = "light";
  await wear(auto, { ...VISA, design: "tide" });
  expect(property("ink")).toBe("#12323a");
});

it("keeps the default face and its ink where one picture does not load", async () => {
  fates.set(at("logo"), Promise.reject(new DOMException("none", "EncodingError")));
  await wear(auto, { ...VISA, design: "tide" });
  expect(worn()).toBe("");
  expect(posted).toEqual([
    expect.objectContaining({ type: "warning", code: "design_unavailable" }),
  ]);
});

it("keeps the ink until the pictures are there", async () => {
  let arrive = () => {};
  fates.set(at("light"), new Promise((done) => (arrive = done)));
  const wearing = wear(auto, { ...VISA, design: "tide" });
  await Promise.resolve();
  expect([worn(), property("ink")]).toEqual([undefined, ""]);
  arrive();
  await wearing;
  expect(property("ink")).toBe("#12323a");
});

it("wears what was asked for last, whatever comes first", async () => {
  let arrive = () => {};
  fates.set(at("light"), new Promise((done) => (arrive = done)));
  const first = wear(auto, { ...VISA, design: "tide" });
  await wear(auto, { ...VISA, design: "dune" });
  arrive();
  await first;
  expect([worn(), property("ink")]).toEqual(["ink veil art", "#301010"]);
});

it("tells once that a design is not registered", async () => {
  await wear({ ...auto, design: "none" }, { lastFour: "", network: "" });
  await wear({ ...auto, design: "none" }, VISA);
  expect(worn()).toBe("");
  expect(posted.map((message) => message.type)).toEqual(["warning"]);
});
