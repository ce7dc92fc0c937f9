import type { RegisteredFont } from "./config.ts";

/** Loads a font that the operator registered. Answers whether the frame has it now. */
export async function loadFont(
  fonts: readonly RegisteredFont[],
  name: string | undefined,
): Promise<boolean> {
  if (name === undefined || name === "system") return true;
  const faces = fonts.filter((font) => font.name === name);
  try {
    for (const { url, weight, style } of faces) {
      document.fonts.add(
        await new FontFace(name, `url("${url}")`, { weight, style, display: "swap" }).load(),
      );
    }
    return faces.length > 0;
  } catch {
    return false;
  }
}
