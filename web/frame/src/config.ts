import { COPYABLE, type Copyable } from "@cardveil/protocol";

/** What the server wrote into the page about this embed. */
export interface Config {
  embed: string;
  /** The only origins that this frame talks to. */
  origins: readonly string[];
  copy: Readonly<Record<Copyable, boolean>>;
}

/** Throws when the server wrote something else, which is a bug and not an answer to anyone. */
export function readConfig(document: Document): Config {
  const data = JSON.parse(document.getElementById("cardveil-config")?.textContent ?? "");
  const origins = (data.origins as unknown[]).map(String).filter((origin) => ORIGIN.test(origin));
  const copy = Object.fromEntries(COPYABLE.map((field) => [field, data.copy?.[field] === true]));
  return { embed: String(data.embed), origins, copy: copy as Config["copy"] };
}

/** Apps have schemes of their own, whose `URL.origin` is `null`, so this goes by form. */
const ORIGIN = /^[a-z][a-z\d+.-]*:\/\/[^/?#*\s]+$/;
