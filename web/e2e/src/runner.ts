/** vitest's own, which tells us of a worker's end: the browsers that its files shared end there. */
import { TestRunner } from "vitest";
import { endProcesses } from "./browsers/playwright.ts";

export default class Runner extends TestRunner {
  constructor(config: TestRunner["config"]) {
    super(config);
    this.onCleanupWorkerContext(endProcesses);
  }
}
