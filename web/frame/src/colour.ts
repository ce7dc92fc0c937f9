type Rgb = readonly [number, number, number];

export interface Face {
  from: string;
  to: string;
  ink: "#ffffff" | "#000000";
}

/**
 * The card's face from one accent colour: the ink that contrasts more with it, and a second stop
 * away from that ink. White or black always reaches 4.5:1 (WCAG 1.4.3), and the second stop only
 * adds to it.
 */
export function faceOf(accent: string): Face {
  const base = parse(accent);
  const ink = contrast(base, WHITE) >= contrast(base, BLACK) ? WHITE : BLACK;
  const away = ink === WHITE ? BLACK : WHITE;
  return {
    from: accent,
    to: format(mix(base, away, 0.35)),
    ink: ink === WHITE ? "#ffffff" : "#000000",
  };
}

/** An ink where it reaches 4.5:1 on a ground, and else black or white, one of which does on any. */
export function inkOn(ground: readonly number[], ink: string): string {
  const on = ground.map((value) => value * 255) as unknown as Rgb;
  if (contrast(on, parse(ink)) >= 4.5) return ink;
  return contrast(on, BLACK) >= contrast(on, WHITE) ? "#000000" : "#ffffff";
}

const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];

export function parse(hex: string): Rgb {
  const byte = (at: number) => Number.parseInt(hex.slice(at, at + 2), 16);
  return [byte(1), byte(3), byte(5)];
}

/** WCAG 2.2, "contrast ratio". */
export function contrast(a: Rgb, b: Rgb): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

function luminance(rgb: Rgb): number {
  const [r, g, b] = rgb.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function mix(a: Rgb, b: Rgb, share: number): Rgb {
  return [0, 1, 2].map((i) =>
    Math.round((a[i] ?? 0) * (1 - share) + (b[i] ?? 0) * share),
  ) as unknown as Rgb;
}

function format(rgb: Rgb): string {
  return `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
