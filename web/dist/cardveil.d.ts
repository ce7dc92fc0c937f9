/** The published types of the Cardveil SDK. Nothing in here runs. */
export type CardveilField = "pan" | "expiry" | "cvv" | "name";
export interface CardveilOptions {
    /** The public id of your embed, `emb_...`. */
    embed: string;
    /** Cardveil's client origin. Needed unless the SDK is loaded from there. */
    clientUrl?: string;
}
export interface CardOptions {
    /**
     * A client token for the card, or a function that fetches one from your server. The function is called
     * when a token is needed, and again when the cardholder asks for the details after they were hidden; a
     * string serves once.
     */
    token: string | (() => string | Promise<string>);
    /** What to show; all four by default. The CVV is fetched when the cardholder asks for it. */
    fields?: readonly CardveilField[];
    appearance?: CardAppearance;
    /** A BCP 47 tag such as `de-CH`; the page's language by default. The frame speaks en and de. */
    locale?: string;
    /** Seconds until the details hide themselves: 5 to 300, by default 60. */
    hideAfter?: number;
    /** What gets a copy button, as far as your embed allows it; the number by default. */
    copy?: boolean | readonly ("pan" | "cvv")[];
    /** Words of your own, for languages the frame does not speak. */
    labels?: Readonly<Record<string, string>>;
}
export interface CardAppearance {
    /** `auto`, the default, follows the device. */
    theme?: "light" | "dark" | "auto";
    /** The colour of the card's face, `#rrggbb`. */
    accent?: string;
    /** The radius of its corners in CSS pixels, 0 to 32. */
    radius?: number;
    font?: "system";
}
export type CardErrorCode = "token_refused" | "origin_refused" | "rate_limited" | "unavailable" | "invalid_request" | "offline" | "timeout" | "unsupported" | "header_mismatch" | "copy_failed" | "internal" | "frame_timeout" | "frame_blocked" | "token_failed" | "bad_option";
export interface CardError extends Error {
    readonly code: CardErrorCode;
    /** Whether the same card may work when it is tried again. */
    readonly retryable: boolean;
    /** The server's id of the request, for Cardveil's operator. */
    readonly requestId?: string;
}
export interface CardEvents {
    /** The frame is there and configured. */
    ready: void;
    /** These fields are on the screen. It comes again for the CVV. */
    revealed: {
        fields: CardveilField[];
    };
    /** The details are gone from the screen and from memory. */
    hidden: void;
    /** The cardholder copied this field. */
    copied: {
        field: "pan" | "cvv";
    };
    /** `hideAfter` ran out; `hidden` follows. */
    expired: void;
    /** Something failed. The cardholder has been told by the frame; `message` is what they read. */
    error: CardError;
}
export interface Card {
    /** Puts the frame into an element, or the first that matches, and reveals the card. Once per card. */
    mount(target: string | Element): void;
    /** Returns a function that takes the handler away again. */
    on<E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void): () => void;
    /** Shows the details again after they were hidden. */
    reveal(): void;
    /** Clears the details from the screen and from memory. */
    hide(): void;
    /** Takes the frame away for good. Never throws. */
    destroy(): void;
}
export interface Veil {
    /** Throws a `CardError` with code `bad_option`, naming the option, if one is wrong. */
    card(options: CardOptions): Card;
}
/** Throws a `CardError` with code `bad_option`, naming the option, if one is wrong. */
export type CardveilFactory = (options: CardveilOptions) => Veil;
/**
 * `<cardveil-card embed token>`, with the optional attributes `client-url`, `fields`, `locale`, `hide-after`
 * and `theme`. It dispatches the events of a card; their `detail` is what a handler would get.
 */
export interface CardveilCardElement extends HTMLElement {
    /** Instead of the attribute, when it is a function. */
    token: CardOptions["token"] | null;
    reveal(): void;
    hide(): void;
}
export declare const Cardveil: CardveilFactory;
declare global {
    interface Window {
        Cardveil?: CardveilFactory;
    }
    interface HTMLElementTagNameMap {
        "cardveil-card": CardveilCardElement;
    }
}
