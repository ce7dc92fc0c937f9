import { bare } from "@cardveil/protocol";
import type { Card, CardOptions, CardveilCardElement, CardveilFactory, CardveilOptions, CardveilPart } from "./api.ts";
import { EVENTS } from "./card.ts";

const words = (value: string) => value.split(/[\s,]+/).filter((word) => word !== "");

/** Defines `<cardveil-card>`, unless another copy of the SDK has, or there is no document at all. */
export function defineElement(cardveil: CardveilFactory): void {
  if (typeof customElements === "undefined" || customElements.get("cardveil-card") !== undefined) return;

  customElements.define(
    "cardveil-card",
    class extends HTMLElement implements CardveilCardElement {
      static readonly observedAttributes = ["embed", "token", "client-url"];
      // What a browser looks for in a definition, and would find on `Object.prototype`.
      static readonly disabledFeatures = undefined;
      static readonly formAssociated = false;
      declare readonly adoptedCallback: undefined;
      declare readonly connectedMoveCallback: undefined;
      static {
        Object.assign(this.prototype, { adoptedCallback: undefined, connectedMoveCallback: undefined });
      }
      #card: Card | undefined;
      #token: CardOptions["token"] | null = null;
      #starting: ReturnType<typeof setTimeout> | undefined;

      get token(): CardOptions["token"] | null {
        return this.#token ?? this.getAttribute("token");
      }

      set token(token: CardOptions["token"] | null) {
        this.#token = token;
        this.#restart();
      }

      connectedCallback(): void {
        if (this.style.display === "") this.style.display = "block";
        this.#restart();
      }

      disconnectedCallback(): void {
        this.#end();
      }

      attributeChangedCallback(_name: string, before: string | null, after: string | null): void {
        if (before !== after) this.#restart();
      }

      reveal(): void {
        this.#card?.reveal();
      }

      hide(): void {
        this.#card?.hide();
      }

      /** In a task of its own: frameworks set one attribute after the other, and mount twice to test. */
      #restart(): void {
        this.#end();
        if (this.isConnected) this.#starting = setTimeout(() => this.#start());
      }

      #start(): void {
        const { token } = this;
        const embed = this.getAttribute("embed");
        if (embed === null || token === null) return;
        try {
          const clientUrl = this.getAttribute("client-url") ?? undefined;
          this.#card = cardveil({ embed, clientUrl } as CardveilOptions).card(this.#options(token));
          for (const event of EVENTS) this.#card.on(event, (detail) => this.#dispatch(event, detail));
          const parts = this.querySelectorAll("cardveil-part");
          if (parts.length === 0) this.#card.mount(this);
          // What a page wrote into an attribute can be anything; `mount` checks it.
          for (const part of parts) this.#card.mount(part, part.getAttribute("name") as CardveilPart, { transparent: part.hasAttribute("transparent") });
        } catch (error) {
          console.error(error);
          this.#dispatch("error", error);
        }
      }

      #options(token: CardOptions["token"]): CardOptions {
        const of = <T>(name: string, read: (value: string) => T): T | undefined => {
          const value = this.getAttribute(name);
          return value === null ? undefined : read(value);
        };
        // What a page wrote into an attribute can be anything; the options are checked like anyone's.
        return {
          token,
          fields: of("fields", words),
          masked: of("masked", words),
          locale: of("locale", String),
          hideAfter: of("hide-after", Number),
          appearance: of("theme", (theme) => ({ theme })),
        } as CardOptions;
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
