/**
 * Keeps the key of each token in the browser, so that a frame that comes again (a remount, a
 * reload, a second tab, the way back) is the same holder to the server, and no second one.
 *
 * What is kept is a key that cannot be extracted, under the hash of its token; neither opens
 * anything without a server that still answers to it. Where the browser keeps nothing for us, the
 * document does.
 */
import type { KeepKey } from "./holder-key.ts";

/** A token lives 300 s and its window 60 s (docs/reference/protocol.md, "Windows"). */
const KEPT_MS = 10 * 60_000;
/** Some browsers never answer in a private window. */
const PATIENCE_MS = 1000;

interface Row {
  name: string;
  pair: CryptoKeyPair;
  until: number;
}

const inDocument = new Map<string, Promise<CryptoKeyPair>>();

export const keepKey: KeepKey = (name, make) => {
  const known =
    inDocument.get(name) ??
    make().then((pair) => kept({ name, pair, until: Date.now() + KEPT_MS }));
  inDocument.set(name, known);
  return known;
};

function kept(row: Row): Promise<CryptoKeyPair> {
  const unkept = new Promise<CryptoKeyPair>((resolve) =>
    setTimeout(resolve, PATIENCE_MS, row.pair),
  );
  return Promise.race([inBrowser(row).catch(() => row.pair), unkept]);
}

/**
 * One transaction reads and writes, so that of two frames at once the second finds the first one's
 * key.
 */
function inBrowser(row: Row): Promise<CryptoKeyPair> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("cardveil", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys", { keyPath: "name" });
    opening.onerror = reject;
    opening.onsuccess = () => {
      const database = opening.result;
      const transaction = database.transaction("keys", "readwrite");
      const keys = transaction.objectStore("keys");
      let found = row;
      const all: IDBRequest<Row[]> = keys.getAll();
      all.onsuccess = () => {
        for (const old of all.result) {
          if (old.until < Date.now()) keys.delete(old.name);
          else if (old.name === row.name) found = old;
        }
        if (found === row) keys.put(row);
      };
      transaction.onabort = reject;
      transaction.oncomplete = () => {
        database.close();
        resolve(found.pair);
      };
    };
  });
}
