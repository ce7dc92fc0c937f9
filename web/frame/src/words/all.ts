/**
 * Every language we speak. The build writes them to `dist/words.json`, of which the server puts one
 * into a frame.
 */
import { ar } from "./ar.ts";
import { de } from "./de.ts";
import { en, type Words } from "./en.ts";
import { es } from "./es.ts";
import { fr } from "./fr.ts";
import { ja } from "./ja.ts";
import { pt } from "./pt.ts";
import { zh } from "./zh.ts";

/** To add a language: its file beside `en.ts`, and its name here. */
export const LANGUAGES: Record<string, Words> = { ar, de, en, es, fr, ja, pt, zh };
