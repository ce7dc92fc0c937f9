import { type Browser, type BrowserType, chromium } from "playwright-core";

interface Kind {
  type: BrowserType;
  /** Where the system's own browser is; nothing is downloaded. */
  executable: string;
  args: string[];
}

/** To test another browser: its entry here, and its name in `BROWSER`. */
const KINDS: Record<string, Kind> = {
  chromium: {
    type: chromium,
    executable: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  },
};

export function launch(): Promise<Browser> {
  const name = process.env["BROWSER"] ?? "chromium";
  const kind = KINDS[name];
  if (kind === undefined) throw new Error(`BROWSER is ${name}; known are ${Object.keys(KINDS).join(", ")}`);
  return kind.type.launch({ executablePath: kind.executable, args: kind.args });
}
