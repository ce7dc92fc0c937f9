/** What axe has against a document. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Frame, Page } from "./browsers/page.ts";

const SCRIPT = await readFile(
  createRequire(import.meta.url).resolve("axe-core/axe.min.js"),
  "utf8",
);

/** Its own rules, each with the first element that breaks it. */
export async function complaints(page: Page, frame: Frame = page): Promise<string[]> {
  await frame.evaluate(SCRIPT);
  // The page of an app has the app around it, which says what it is.
  const isPage = frame === page && (await page.locator("#cardveil-root").count()) === 0;
  const paper =
    frame === page
      ? ""
      : await page.evaluate(
          () => getComputedStyle(document.querySelector(".stage") as Element).backgroundColor,
        );
  return frame.evaluate(
    async ({ isPage, paper }) => {
      const { axe } = window as unknown as {
        axe: {
          run(
            options: object,
          ): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
        };
      };
      // axe cannot reach from one site into another, so each document is asked by itself. It does
      // not see the page through the transparent frame, and the one heading that a page must have
      // is the page's.
      document.documentElement.style.background = paper;
      const rules = { "page-has-heading-one": { enabled: isPage } };
      const { violations } = await axe.run({ iframes: false, rules });
      document.documentElement.style.background = "";
      return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
    },
    { isPage, paper },
  );
}
