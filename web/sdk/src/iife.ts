import { bare } from "@cardveil/protocol";
import { cardveilFrom } from "./cardveil.ts";
import { currentScript } from "./document.ts";
import { defineElement } from "./element.ts";

const Cardveil = cardveilFrom(currentScript()?.src);
// Whatever is found by this name: an element, such as `<form id="Cardveil">`, or a member of
// `Object.prototype`.
Object.defineProperty(
  window,
  "Cardveil",
  bare({ value: Cardveil, writable: true, enumerable: true, configurable: true }),
);
defineElement(Cardveil);
