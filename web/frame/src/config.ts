import { awaitConnection, type Connection } from "./connect.ts";
import type { RegisteredDesign } from "./design.ts";
import { loadWhole } from "./whole.ts";
import type { Spoken } from "./words/index.ts";

export interface RegisteredFont {
  name: string;
  /** On our own origin. */
  url: string;
  weight: string;
  style: string;
}

/** What the server wrote into the page about this embed. */
export interface Config {
  embed: string;
  /** The only origins that this frame talks to. */
  origins: readonly string[];
  /** Whether this merchant's cardholders may copy the CVV. */
  copyCvv: boolean;
  /** Whether a page may lay parts without looks over what it draws itself. */
  transparent: boolean;
  words: Spoken;
  /** The language that the address asked for; `words` may be in another. */
  asked: string;
  fonts: readonly RegisteredFont[];
  designs: readonly RegisteredDesign[];
  /** The page's, where there is one above. It is on its way before the words are there. */
  connection?: Promise<Connection> | undefined;
}

/** Throws when the server wrote something else, which is a bug and not an answer to anyone. */
export async function readConfig(document: Document): Promise<Config> {
  const data = JSON.parse(document.getElementById("cardveil-config")?.textContent ?? "");
  const origins = (data.origins as unknown[]).map(String).filter((origin) => ORIGIN.test(origin));
  const connection = window.parent === window ? undefined : awaitConnection(origins);
  const words = await wordsOf(data.words);
  await window.cardveilStyled;
  const asked = new URL(document.URL).searchParams.get("lang")?.toLowerCase() ?? words.lang;
  return {
    embed: String(data.embed),
    origins,
    copyCvv: data.copy_cvv === true,
    transparent: data.transparent === true,
    words,
    asked,
    fonts: data.fonts,
    designs: data.designs,
    connection,
  };
}

/** The words, or what is at their address. */
async function wordsOf(words: Spoken | string): Promise<Spoken> {
  if (typeof words !== "string") return words;
  try {
    const answer = await fetch(words);
    if (answer.ok) return await answer.json();
  } catch {
    // As when they are not there.
  }
  loadWhole();
  return new Promise(() => {});
}

/** Apps have schemes of their own, whose `URL.origin` is `null`, so this goes by form. */
const ORIGIN = /^[a-z][a-z\d+.-]*:\/\/[^/?#*\s]+$/;
