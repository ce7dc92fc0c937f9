import { cardveilFrom } from "./cardveil.ts";
import { defineElement } from "./element.ts";

const script = document.currentScript;
const Cardveil = cardveilFrom(script instanceof HTMLScriptElement ? script.src : undefined);
window.Cardveil ??= Cardveil;
defineElement(window.Cardveil);
