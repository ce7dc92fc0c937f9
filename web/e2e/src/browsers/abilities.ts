/** The browsers' names, and what their drivers cannot do: the one place that says so. */

export const NAMES = ["chromium", "firefox", "webkit"] as const;
export type Name = (typeof NAMES)[number];

/** What some tests need. `web/README.md` tells users of the suite. */
export type Ability =
  | "back/forward cache"
  | "cache"
  | "clock"
  | "forced colours"
  | "font size"
  | "frames in frames"
  | "heap snapshots"
  | "print"
  | "visibility";

export const CANNOT: Record<Name, readonly Ability[]> = {
  chromium: ["back/forward cache"],
  firefox: ["back/forward cache", "heap snapshots", "print", "visibility"],
  webkit: [
    "cache",
    "clock",
    "forced colours",
    "font size",
    "frames in frames",
    "heap snapshots",
    "print",
    "visibility",
  ],
};

export function nameOf(text: string | undefined): Name {
  const name = NAMES.find((name) => name === text);
  if (name === undefined) throw new Error(`BROWSER is ${text}; known are ${NAMES.join(", ")}`);
  return name;
}
