import type { Field } from "@cardveil/protocol";

/** What the sealed answer holds: the asked fields and nothing else. */
export interface Secrets {
  pan?: string;
  expiry?: { month: string; year: string };
  cvv?: string;
  name?: string;
}

/** Throws unless every asked field is there and looks like one. */
export function parseSecrets(json: string, fields: readonly Field[]): Secrets {
  const data: Record<string, unknown> = JSON.parse(json);
  const secrets: Secrets = {};
  for (const field of fields) {
    if (field === "expiry") {
      const { month, year } = data["expiry"] as Record<string, unknown>;
      secrets.expiry = {
        month: matching(month, /^(0[1-9]|1[0-2])$/),
        year: matching(year, /^\d{4}$/),
      };
    } else {
      secrets[field] = matching(data[field], SHAPE[field]);
    }
  }
  return secrets;
}

const SHAPE = {
  pan: /^\d{8,19}$/, // ISO/IEC 7812
  cvv: /^\d{3,4}$/,
  name: /^[^\p{Cc}]{1,80}$/u,
};

/** A field as it is written on a card; the number without its gaps. */
export function written({ pan, expiry, cvv, name }: Secrets, field: Field): string | undefined {
  return { pan, cvv, name, expiry: expiry && `${expiry.month}/${expiry.year.slice(-2)}` }[field];
}

/** The groups in which a card prints its number. */
export function groups(pan: string, network: string): string[] {
  const sizes =
    network === "amex" && pan.length === 15
      ? [4, 6, 5]
      : pan.length === 14
        ? [4, 6, 4]
        : [4, 4, 4, 4, 4];
  const found: string[] = [];
  let start = 0;
  for (const size of sizes) {
    if (start < pan.length) found.push(pan.slice(start, start + size));
    start += size;
  }
  return found;
}

function matching(value: unknown, shape: RegExp): string {
  if (typeof value !== "string" || !shape.test(value))
    throw new TypeError("a field is missing or malformed");
  return value;
}
