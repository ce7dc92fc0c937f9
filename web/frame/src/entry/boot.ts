/**
 * The first script of a document that loads its parts by their address: sees to it when one does
 * not come.
 */
import { loadWhole } from "../whole.ts";

// Of elements alone: an error of a script goes to the window.
addEventListener("error", ({ target }) => target !== window && loadWhole(), true);

// The window hears of no element's load.
window.cardveilStyled = new Promise((done) => {
  document.addEventListener(
    "load",
    ({ target }) => (target as HTMLLinkElement).rel === "stylesheet" && done(),
    true,
  );
});
