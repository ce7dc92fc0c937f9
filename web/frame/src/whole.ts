/**
 * Loads the document again with its script, its style and its words inside. During an upgrade the
 * node that is asked for a script may be of another version than the one that served the document,
 * and has none of that name.
 */
export function loadWhole(): void {
  location.replace(`?whole=true&${location.search.slice(1)}`);
}

declare global {
  interface Window {
    /**
     * In a document that links its style: when that is there. Where it does not come, the document
     * loads again in one piece, and the one that goes must not have spent the token, which the one
     * that comes could not use.
     */
    cardveilStyled?: Promise<void>;
  }
}
