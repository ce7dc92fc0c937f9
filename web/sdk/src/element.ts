import type { Card, CardEvents, CardOptions, CardveilCardElement, CardveilFactory } from "./api.ts";

const EVENTS = ["ready", "revealed", "hidden", "copied", "expired", "error"] as const satisfies (keyof CardEvents)[];

/** Defines `<cardveil-card>`, unless another copy of the SDK has, or there is no document at all. */
export function defineElement(cardveil: CardveilFactory): void {
  if (typeof customElements === "undefined" || customElements.get("cardveil-card") !== undefined) return;

  customElements.define(
    "cardveil-card",
    class extends HTMLElement implements CardveilCardElement {
      static readonly observedAttributes = ["embed", "token", "client-url"];
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
          const clientUrl = this.getAttribute("client-url");
          this.#card = cardveil(clientUrl === null ? { embed } : { embed, clientUrl }).card(this.#options(token));
          for (const event of EVENTS) this.#card.on(event, (detail) => this.#dispatch(event, detail));
          this.#card.mount(this);
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
        const options = {
          token,
          fields: of("fields", (value) => value.trim().split(/[\s,]+/)),
          locale: of("locale", String),
          hideAfter: of("hide-after", Number),
          appearance: of("theme", (theme) => ({ theme })),
        };
        // What a page wrote into an attribute can be anything; the options are checked like anyone's.
        return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as unknown as CardOptions;
      }

      #dispatch(event: string, detail: unknown): void {
        this.dispatchEvent(new CustomEvent(event, { detail }));
      }

      #end(): void {
        clearTimeout(this.#starting);
        this.#card?.destroy();
        this.#card = undefined;
      }
    },
  );
}
