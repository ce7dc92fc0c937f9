/**
 * How the frames of one card find each other where the page places its parts by itself.
 *
 * A part asks its siblings to `join`; the frame that holds the card answers with a port of its own,
 * and clear data moves over that alone. Each `postMessage` names our own origin, so the browser
 * gives it to no one else, and each side looks at origin, place and version of who speaks. The page
 * knows the group's name, which opens nothing by itself.
 */
import { FIELDS, PARTS, type Part, VERSION } from "@cardveil/protocol";
import { isSight, type Sight } from "./sight.ts";
import type { FieldState } from "./stage.ts";

/** What a part is told: all that it shows. */
export interface Drawing {
  at: "loading" | "shown" | "hidden" | "failed" | "gone";
  /** The field's text, for the part that shows or copies it, while it is shown. */
  value?: string | undefined;
  state?: FieldState | undefined;
  lastFour: string;
  network: string;
  /** Whether the field has a switch of its own. */
  masked: boolean;
  /** Whether its button can do something now. */
  enabled: boolean;
  /** Seconds until everything hides. */
  secs: number;
  /** What one of the parts says for all. */
  says?: string | undefined;
  alert: boolean;
  /** Whether the last copy worked, as long as that is news. */
  copied?: boolean | undefined;
}

export type ForPart = { type: "draw"; drawing: Drawing } | { type: "tick"; secs: number };
/** A part says what it was asked to do, and whether it can be seen. */
export type FromPart =
  | Sight
  | "show"
  | "hide"
  | "retry"
  | "showField"
  | "hideField"
  | "copied"
  | "copyFailed"
  | "painted"
  | "gone";

/** The field that a part shows or copies. */
export const fieldOf = (part: Part) =>
  FIELDS.find((field) => part === field || part === `copy-${field}`);

/** Lets siblings of the same embed in, each over a port of its own. */
export function admitParts(
  group: string,
  embed: string,
  admit: (part: Part, port: MessagePort, sight: Sight) => void,
): void {
  listen("join", group, (data, source) => {
    const part = PARTS.find((known) => known === data["part"]);
    if (part === undefined || data["embed"] !== embed) return;
    const { port1, port2 } = new MessageChannel();
    source.postMessage({ cardveil: VERSION, type: "admit", group }, location.origin, [port2]);
    // A part of a server from before says nothing of it.
    admit(part, port1, isSight(data["sight"]) ? data["sight"] : "unknown");
  });
}

/** Asks every sibling; the one that holds the card answers. */
export function join(group: string, embed: string, part: Part, sight: Sight): Promise<MessagePort> {
  return new Promise((resolve) => {
    listen("admit", group, (_data, _source, port) => {
      if (port !== undefined) resolve(port);
    });
    const { parent } = window;
    for (let i = 0; i < parent.length; i += 1) {
      if (parent[i] !== window)
        parent[i]?.postMessage(
          { cardveil: VERSION, type: "join", group, embed, part, sight },
          location.origin,
        );
    }
  });
}

function listen(
  type: "join" | "admit",
  group: string,
  hear: (data: Record<string, unknown>, source: Window, port: MessagePort | undefined) => void,
): void {
  window.addEventListener("message", ({ data, origin, source, ports }) => {
    if (
      origin !== location.origin ||
      source === null ||
      !("parent" in source) ||
      source.parent !== window.parent
    )
      return;
    if (data?.cardveil === VERSION && data.type === type && data.group === group)
      hear(data, source, ports[0]);
  });
}
