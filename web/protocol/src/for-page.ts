/** What the page may hear from the frame. */
import {
  type ErrorCode,
  type ForPage,
  HINDRANCES,
  VERSION,
  WARNING_CODES,
  type hello,
} from "./messages.ts";
import { bool, messages, oneOf, text, within } from "./parse.ts";
import { NONCE, parseField, parseSome, REQUEST_ID, sentence } from "./values.ts";

const parseHello = /* @__PURE__ */ messages<ReturnType<typeof hello>>({
  hello: [{ cardveil: oneOf(VERSION) }],
});
export const isHello = (data: unknown): true | undefined => parseHello(data) && true;

/** By form: a page may be older than the frame, and what it does not know it passes on. */
const code = text<ErrorCode>(/^[a-z]+(_[a-z]+){0,3}$/);

export const parseForPage = /* @__PURE__ */ messages<ForPage>({
  ready: [{ nonce: text(NONCE), title: sentence }],
  title: [{ title: sentence }],
  needToken: [{}],
  revealed: [{ fields: parseSome }],
  hidden: [{}],
  copied: [{ field: parseField }],
  expired: [{}],
  warning: [
    { code: oneOf(...WARNING_CODES), message: sentence },
    { field: parseField, cause: oneOf(...HINDRANCES) },
  ],
  error: [{ code, message: sentence, retryable: bool }, { requestId: text(REQUEST_ID) }],
  size: [{ height: within(1, 2000) }, { baseline: within(0, 2000) }],
});
