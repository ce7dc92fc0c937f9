import { bare, ownOf } from "@cardveil/protocol";
import type {
  Card,
  CardAppearance,
  CardChanges,
  CardOptions,
  CardveilCardElement,
  CardveilFactory,
  CardveilOptions,
  CardveilPart,
  CardveilPartElement,
  PartOptions,
} from "./api.ts";
import { EVENTS } from "./card.ts";
import { warnOnce } from "./error.ts";

const words = (value: string) => value.split(/[\s,]+/).filter((word) => word !== "");
/** `masked` alone is on, like any boolean attribute. */
const some = (value: string) =>
  /^(true)?$/.test(value) ? true : value !== "false" && words(value);

const PATIENCE_MS = 5_000;

/** Another card, when one of these changes. */
const ANOTHER = ["embed", "token", "client-url", "fields", "masked"];
const LIVE = [
  "locale",
  "hide-after",
  "copy",
  "frame-title",
  "theme",
  "accent",
  "radius",
  "font",
  "design",
];

/**
 * Defines `<cardveil-card>`, unless another copy of the SDK has, or there is no document at all.
 */
export function defineElement(cardveil: CardveilFactory): void {
  if (typeof customElements === "undefined" || customElements.get("cardveil-card") !== undefined)
    return;

  customElements.define(
    "cardveil-card",
    class extends HTMLElement implements CardveilCardElement {
      static readonly observedAttributes = [...ANOTHER, ...LIVE];
      // What a browser looks for in a definition, and would find on `Object.prototype`.
      static readonly disabledFeatures = undefined;
      static readonly formAssociated = false;
      declare readonly adoptedCallback: undefined;
      declare readonly connectedMoveCallback: undefined;
      static {
        Object.assign(this.prototype, {
          adoptedCallback: undefined,
          connectedMoveCallback: undefined,
        });
      }
      #card: Card | undefined;
      #token: CardOptions["token"] | null = null;
      #appearance: CardAppearance | null = null;
      #labels: CardOptions["labels"] | null = null;
      #timeouts: CardOptions["timeouts"] | null = null;
      #told = "";
      #starting: ReturnType<typeof setTimeout> | undefined;

      get token(): CardOptions["token"] | null {
        return this.#token ?? this.getAttribute("token");
      }

      set token(token: CardOptions["token"] | null) {
        // Frameworks make a function anew at each render: the newest is called, and costs no token.
        const both = typeof token === "function" && typeof this.#token === "function";
        this.#token = token;
        if (!both) this.#restart();
      }

      get appearance(): CardAppearance | null {
        return this.#appearance;
      }

      set appearance(appearance: CardAppearance | null) {
        this.#appearance = appearance;
        this.#change();
      }

      get labels(): CardOptions["labels"] | null {
        return this.#labels;
      }

      set labels(labels: CardOptions["labels"] | null) {
        this.#labels = labels;
        this.#change();
      }

      get timeouts(): CardOptions["timeouts"] | null {
        return this.#timeouts;
      }

      set timeouts(timeouts: CardOptions["timeouts"] | null) {
        this.#timeouts = timeouts;
        this.#change();
      }

      connectedCallback(): void {
        // What a page said before the element was defined.
        for (const [name, value] of Object.entries(
          ownOf(this as CardveilCardElement, "token", "appearance", "labels", "timeouts"),
        )) {
          Reflect.deleteProperty(this, name);
          Reflect.set(this, name, value);
        }
        if (this.style.display === "") this.style.display = "block";
        this.#restart();
      }

      disconnectedCallback(): void {
        this.#end();
      }

      attributeChangedCallback(name: string, before: string | null, after: string | null): void {
        if (before === after) return;
        if (LIVE.includes(name)) this.#change();
        else this.#restart();
      }

      reveal(): void {
        this.#card?.reveal();
      }

      hide(): void {
        this.#card?.hide();
      }

      /**
       * In a task of its own: frameworks set one attribute after the other, and mount twice to
       * test.
       */
      #restart(): void {
        this.#end();
        if (this.isConnected) this.#starting = setTimeout(() => this.#start());
      }

      /** One that could not start, for an option that was wrong, tries once more. */
      #change(): void {
        if (this.#card === undefined) this.#restart();
        else this.#try(() => this.#card?.update(this.#live()));
      }

      #start(): void {
        const { token } = this;
        const embed = this.getAttribute("embed");
        if (embed === null || token === null) {
          // A page may bring them later, which is nothing to tell.
          const missing = `<cardveil-card> waits for its ${embed === null ? "embed" : "token"}`;
          this.#starting = setTimeout(warnOnce, PATIENCE_MS, missing);
          return;
        }
        this.#try(() => {
          const clientUrl = this.getAttribute("client-url") ?? undefined;
          // What a page wrote into an attribute can be anything; the options are checked like
          // anyone's.
          const fixed = {
            token: typeof token === "function" ? () => (this.#token as typeof token)() : token,
            fields: this.#said("fields", words),
            masked: this.#said("masked", some),
          } as CardOptions;
          this.#card = cardveil({ embed, clientUrl } as CardveilOptions).card({
            ...fixed,
            ...this.#live(),
          } as CardOptions);
          for (const event of EVENTS)
            this.#card.on(event, (detail) => this.#dispatch(event, detail));
          const parts = this.querySelectorAll<CardveilPartElement>("cardveil-part");
          if (parts.length === 0) this.#card.mount(this);
          for (const part of parts) {
            const options = {
              ...ownOf(part, "appearance"),
              title: part.getAttribute("frame-title") ?? undefined,
              transparent: part.hasAttribute("transparent"),
            };
            this.#card.mount(
              part,
              part.getAttribute("name") as CardveilPart,
              options as PartOptions,
            );
          }
        });
      }

      #live(): CardChanges {
        return {
          locale: this.#said("locale", String),
          hideAfter: this.#said("hide-after", Number),
          copy: this.#said("copy", some),
          title: this.#said("frame-title", String),
          labels: this.#labels ?? undefined,
          timeouts: this.#timeouts ?? undefined,
          appearance: {
            theme: this.#said("theme", String),
            accent: this.#said("accent", String),
            radius: this.#said("radius", Number),
            font: this.#said("font", String),
            design: this.#said("design", String),
            ...this.#appearance,
          },
        } as CardChanges;
      }

      #said<T>(name: string, read: (value: string) => T): T | undefined {
        const value = this.getAttribute(name);
        return value === null ? undefined : read(value);
      }

      #try(run: () => void): void {
        try {
          run();
          this.#told = "";
        } catch (error) {
          // Each attribute that is set asks for all of them again.
          if (String(error) === this.#told) return;
          this.#told = String(error);
          console.error(error);
          this.#dispatch("error", error);
        }
      }

      #dispatch(event: string, detail: unknown): void {
        this.dispatchEvent(new CustomEvent(event, bare({ detail })));
      }

      #end(): void {
        clearTimeout(this.#starting);
        this.#card?.destroy();
        this.#card = undefined;
      }
    },
  );
}
