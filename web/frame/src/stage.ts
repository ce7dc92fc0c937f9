/** Where a card is drawn: in its own frame (`View`), or in frames that the page placed (`Cast`). */
import type { Appearance, Field } from "@cardveil/protocol";
import type { Failure } from "./failure.ts";
import type { Secrets } from "./secrets.ts";
import type { Speech } from "./words/index.ts";

/**
 * `masked` means not fetched. `gone`: its time is over. `absent`: the card does not have it. A
 * field that is not listed is not to be seen.
 */
export type FieldState = "masked" | "loading" | "shown" | "gone" | "absent";
export type FieldStates = Partial<Record<Field, FieldState>>;

/** Why the details are hidden. */
export type Because = "asked" | "time" | "left";

export interface Known {
  lastFour: string;
  network: string;
  /** The registered design that the card wears, where the server names one. */
  design?: string | undefined;
}

export type Scene =
  /** `note` says what keeps it. */
  | (Known & { at: "loading"; fields: readonly Field[]; note?: string })
  | (Known & {
      at: "shown";
      secrets: Secrets;
      states: FieldStates;
      /** Fields with a switch of their own. */
      masked: readonly Field[];
      copy: readonly Field[];
      secs: number;
    })
  | (Known & { at: "hidden"; fields: readonly Field[]; because: Because; showable: boolean })
  /** `secs`: until it may be tried again, where the server said so. */
  | { at: "failed"; failure: Failure; retryable: boolean; secs: number };

/** A form in the place of the card, for a stage that has room for one. */
export type Asking = { at: "asking"; form: HTMLElement };

/** What the cardholder can do. */
export interface Actions {
  show(): void;
  hide(): void;
  retry(): void;
  showField(field: Field): void;
  hideField(field: Field): void;
  copy(field: Field): void;
  /** For a stage that copies by itself: whether it could. */
  copied(field: Field, done: boolean): void;
}

/** It decides nothing and keeps nothing that it does not show. */
export interface Stage {
  on(actions: Actions): void;
  configure(speech: Speech, appearance: Appearance): void;
  render(scene: Scene | Asking): void;
  /** Changes one field of the scene that is shown. */
  field(field: Field, state: FieldState, of: Known & { secrets: Secrets }, note?: string): void;
  tick(secs: number): void;
  announce(text: string): void;
  copied(field: Field, done: boolean): void;
  forgetCopied(field: Field): void;
  /** At 0 it may be tried again. */
  retryIn(secs: number): void;
  clear(): void;
}
