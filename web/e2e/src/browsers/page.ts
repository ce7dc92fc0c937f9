/**
 * What tests may ask of a page, in the words of Playwright, which drives Chromium and Firefox and
 * so brings them along. WebKit's are in `webkit.ts`.
 */

export type Role = "button" | "dialog" | "group" | "img" | "list" | "listitem" | "radio" | "status";

export interface Scope {
  locator(css: string): Locator;
  getByText(text: string, options?: { exact: boolean }): Locator;
  getByRole(role: Role, options?: { name: string | RegExp }): Locator;
}

export interface Locator extends Scope {
  and(other: Locator): Locator;
  or(other: Locator): Locator;
  filter(options: { hasText: string | RegExp }): Locator;
  first(): Locator;
  last(): Locator;
  nth(index: number): Locator;
  /** Within the document of a frame. */
  contentFrame(): Scope;

  click(): Promise<void>;
  fill(text: string): Promise<void>;
  focus(): Promise<void>;
  press(key: string): Promise<void>;
  waitFor(options?: { state: "attached" | "detached" | "visible" | "hidden" }): Promise<void>;

  count(): Promise<number>;
  allTextContents(): Promise<string[]>;
  textContent(): Promise<string | null>;
  inputValue(): Promise<string>;
  getAttribute(name: string): Promise<string | null>;
  isVisible(): Promise<boolean>;
  isEnabled(): Promise<boolean>;
  isDisabled(): Promise<boolean>;
  evaluate<R>(run: (element: HTMLElement) => R | Promise<R>): Promise<R>;
  evaluateAll<R>(run: (elements: HTMLElement[]) => R | Promise<R>): Promise<R>;
}

export interface Frame extends Scope {
  url(): string;
  evaluate<R>(run: string | (() => R | Promise<R>)): Promise<R>;
  evaluate<R, A>(run: (argument: A) => R | Promise<R>, argument: A): Promise<R>;
}

export interface Page extends Frame {
  /** A clock to turn by hand, in the page. */
  readonly clock: { install(): Promise<void>; fastForward(time: string): Promise<void> };
  readonly keyboard: { press(key: string): Promise<void> };
  goto(url: string): Promise<unknown>;
  goBack(): Promise<unknown>;
  content(): Promise<string>;
  /** Prints. */
  pdf(): Promise<unknown>;
  screenshot(options: { path: string }): Promise<unknown>;
  waitForFunction(run: () => unknown): Promise<unknown>;
}
