import {
  type Configuration,
  COPYABLE,
  FIELDS,
  HIDE_AFTER_SECS,
  parseAppearance,
  parseCopy,
  parseFields,
  parseHideAfter,
  parseLabels,
  parseLocale,
} from "@cardveil/protocol";
import type { CardOptions, CardveilOptions } from "./api.ts";
import { badOption } from "./error.ts";

export interface Place {
  origin: string;
  frameUrl: string;
}

/** Where the frame lives. `scriptUrl` is where the SDK came from, and means something only if that was Cardveil. */
export function parsePlace(options: CardveilOptions, scriptUrl: string | undefined): Place {
  const embed = check("embed", "an embed id such as emb_...", () => matching(options?.embed, /^emb_\w{1,64}$/));
  const served = scriptUrl !== undefined && new URL(scriptUrl).pathname.startsWith("/sdk/v1/");
  const client = options.clientUrl ?? (served ? scriptUrl : undefined);
  const origin = check("clientUrl", "Cardveil's client origin such as https://cards.example.com", () => {
    const url = new URL(matching(client, /^https?:/));
    if (options.clientUrl !== undefined && url.pathname !== "/") throw new TypeError();
    return url.origin;
  });
  return { origin, frameUrl: `${origin}/embed/${embed}` };
}

/** Checks every option now, where the mistake is, and not later in a frame. */
export function parseOptions(options: CardOptions): Configuration {
  const { token, copy } = options;
  check("token", "a string, or a function that fetches one", () => {
    if (typeof token !== "function") matching(token, /./);
  });
  return {
    renewable: typeof token === "function",
    fields: check("fields", `some of ${FIELDS.join(", ")}`, () => parseFields(options.fields ?? FIELDS)),
    appearance: check("appearance", "{theme, accent: #rrggbb, radius: 0 to 32}", () =>
      parseAppearance(options.appearance ?? {}),
    ),
    locale: check("locale", "a language tag such as en or de-CH", () =>
      parseLocale(options.locale ?? (document.documentElement.lang || "en")),
    ),
    hideAfter: check("hideAfter", `seconds from ${HIDE_AFTER_SECS.min} to ${HIDE_AFTER_SECS.max}`, () =>
      parseHideAfter(options.hideAfter ?? HIDE_AFTER_SECS.default),
    ),
    copy: check("copy", `a boolean, or some of ${COPYABLE.join(", ")}`, () =>
      parseCopy(copy === true ? COPYABLE : copy === false ? [] : (copy ?? ["pan"])),
    ),
    labels: check("labels", "short texts under the frame's own names", () => parseLabels(options.labels ?? {})),
  };
}

function check<T>(option: string, expected: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw badOption(`Cardveil: the option "${option}" must be ${expected}`);
  }
}

function matching(value: unknown, shape: RegExp): string {
  if (typeof value !== "string" || !shape.test(value)) throw new TypeError();
  return value;
}
