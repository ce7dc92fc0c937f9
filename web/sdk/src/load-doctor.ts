import { bare } from "@cardveil/protocol";
import { append, native } from "./document.ts";
import { CardveilError, policyLine } from "./error.ts";

declare global {
  /** Of the doctor that was built with this SDK: the value of an `integrity` attribute. */
  const DOCTOR_INTEGRITY: string;
  /** Not in every browser. */
  var trustedTypes:
    | {
        createPolicy(
          name: string,
          rules: { createScriptURL(url: string): string },
        ): { createScriptURL(url: string): string };
      }
    | undefined;
}

/** Made once: a page may allow no second of its name. */
let policy: { createScriptURL(url: string): string } | undefined;

/**
 * Loads the doctor of this build and no other: no page carries it, and one that pins the SDK has
 * pinned the doctor too. What an element has checked is the module that `import` then finds. WebKit
 * checks what a script says, and not what a link does that loads a module ahead.
 */
export function loadDoctor(
  origin: string,
  base: string | URL,
): Promise<typeof import("./doctor.ts")> {
  const { href } = new URL(`doctor.js?${DOCTOR_INTEGRITY}`, base);
  const script = native("createElement")("script");
  return new Promise((resolve, reject) => {
    const rules = bare({ createScriptURL: (url: string) => url });
    policy ??= globalThis.trustedTypes?.createPolicy("cardveil", rules);
    Object.assign(script, {
      type: "module",
      crossOrigin: "",
      integrity: DOCTOR_INTEGRITY,
      src: policy?.createScriptURL(href) ?? href,
      onload: resolve,
      onerror: reject,
    });
    append(native("head"), script);
  })
    .finally(() => script.remove())
    .then(() => import(/* @vite-ignore */ /* webpackIgnore: true */ href))
    .catch(() => {
      throw new CardveilError(
        "csp_blocked",
        `no doctor of this SDK: load the SDK from ${origin}, and ${policyLine(`script-src ${origin}`)}`,
      );
    });
}
