/** `veil.doctor()`: loaded when it is asked for, so that no page carries it. */
import { bare, isHello, ownOf } from "@cardveil/protocol";
import type { CardErrorCode, CoverCause, DoctorCheck, DoctorReport } from "./api.ts";
import { append, native } from "./document.ts";
import { policyLine } from "./error.ts";
import type { Place } from "./options.ts";

const PATIENCE_MS = 5000;

/** Why a frame did not come: what it cannot tell, its server may. */
export async function why(
  place: Place,
  code: CardErrorCode,
): Promise<[code: CardErrorCode, why: string]> {
  const { origin } = place;
  if (self.origin === "null") return ["origin_refused", OPAQUE()];
  const { server, embed, registered } = await ask(place);
  if (embed?.[0] === false) return ["embed_unknown", embed[1]];
  if (registered?.[0] === false) return ["origin_refused", registered[1]];
  if (!navigator.onLine) return ["offline", "this device is offline"];
  if (!server[0] && server[1].startsWith(UNREACHED)) return ["unavailable", server[1]];
  if (code === "frame_timeout") return [code, `no answer from ${origin} in time`];
  return [
    code,
    `what loaded from ${origin} was not the frame: look for a content blocker, or something between`,
  ];
}

/** Why a page has no origin that anyone could register. */
const OPAQUE = () =>
  location.protocol === "file:"
    ? "this page was opened from a file, which has no origin: serve it"
    : 'this page is in a sandbox without an origin: add "allow-same-origin" to the sandbox attribute of the iframe that it is in, or to the sandbox of its Content-Security-Policy';

const UNREACHED = "nothing answers at";

/** What of this page likely hides one of its frames. */
export function hides(
  frames: readonly HTMLElement[],
): { cause: CoverCause; message: string } | undefined {
  for (const frame of frames) {
    const [cause, why] = hidden(frame) ?? [];
    if (cause !== undefined)
      return { cause, message: `Cardveil waits until its frame can be seen: ${why}` };
  }
  return undefined;
}

function hidden(frame: HTMLElement): [CoverCause, why: string] | undefined {
  for (let element: HTMLElement | null = frame; element !== null; element = element.parentElement) {
    const style = getComputedStyle(element);
    if (style.display === "none" || /hidden|collapse/.test(style.visibility))
      return ["not_rendered", `${named(element)} is not rendered`];
    for (const [property, harmless] of EFFECTS) {
      const value = style.getPropertyValue(property);
      if (!harmless.test(value)) return ["effect", `${named(element)} has ${property}: ${value}`];
    }
  }
  const { left, top, width, height } = frame.getBoundingClientRect();
  if (width < 120 || height < 24)
    return ["too_small", `it is ${Math.round(width)} by ${Math.round(height)} pixels`];
  for (const across of [0.02, 0.5, 0.98]) {
    for (const down of [0.02, 0.5, 0.98]) {
      const over = native("elementFromPoint")(left + across * width, top + down * height);
      if (over !== null && over !== frame && !over.contains(frame))
        return ["covered", `${named(over)} lies over it`];
    }
  }
  return undefined;
}

/** What hides a frame unless its value is like this. A transform may move and enlarge. */
const EFFECTS: readonly (readonly [property: string, harmless: RegExp])[] = [
  ["opacity", /^(1|)$/],
  ["filter", /^(none|)$/],
  ["mix-blend-mode", /^(normal|)$/],
  ["perspective", /^(none|)$/],
  ["transform", /^(none|matrix\(([1-9][\d.]*), 0, 0, \2, [^)]*\)|)$/],
  ["rotate", /^(none|0deg|)$/],
];

const named = ({ localName, id, classList }: Element) =>
  `<${localName}${id === "" ? "" : ` id="${id}"`}${classList.length === 0 ? "" : ` class="${classList}"`}>`;

type Finding = [ok: boolean, message: string];

/** Looks for what would keep a card from this page. It asks for no token and shows nothing. */
export async function examine(place: Place): Promise<DoctorReport> {
  const { origin } = place;
  const checks: DoctorCheck[] = [];
  const note = (check: DoctorCheck["check"], [ok, message]: Finding) =>
    checks.push({ check, ok, message });

  note("secure_context", [
    isSecureContext,
    isSecureContext
      ? "this page is served over TLS, or from this device"
      : "serve this page over https: browsers give no cryptography to others",
  ]);
  const crypto = globalThis.crypto?.subtle !== undefined;
  note("webcrypto", [
    crypto,
    crypto ? "WebCrypto is here" : "no WebCrypto: an old browser, or a page without TLS",
  ]);

  const { frame, policy, copies } = await tryFrame(place);
  // A policy may let the frame in and forbid to ask, and each question that it forbids is one more
  // report of the page's.
  const { server, embed, registered } =
    policy !== undefined ? UNASKED : frame[0] ? proven(place) : await ask(place);
  if (server !== undefined) note("server", server);
  if (embed !== undefined) note("embed", embed);
  if (registered !== undefined) note("origin", registered);
  note("frame_policy", [
    policy === undefined,
    policy === undefined
      ? "this page's Content-Security-Policy lets the frame in"
      : `${policy} forbids the frame: ${policyLine(`frame-src ${origin}`)}`,
  ]);
  // What keeps it away is said, where it was found out.
  const found =
    policy !== undefined || [server, embed, registered].some((one) => one?.[0] === false);
  note("frame", frame[0] || !found ? frame : [false, "no frame came, for what is said above"]);
  note("clipboard", [copies, copies ? "copying is allowed" : copying(origin)]);
  note("isolation", isolation());
  return { ok: checks.every(({ ok }) => ok), checks };
}

interface Answers {
  server: Finding;
  embed?: Finding;
  registered?: Finding;
}

/** What a policy forbids is mended first. */
const UNASKED: Partial<Answers> = {};

/** A frame says hello to the origins of its embed alone. */
const proven = ({ origin, embed }: Place): Required<Answers> => ({
  server: [true, `${origin} answers`],
  embed: [true, `${embed} is known`],
  registered: [true, `${location.origin} may show cards`],
});

async function ask(place: Place): Promise<Answers> {
  const { origin, embed } = place;
  let answer: Response;
  let forbidden = false;
  const stop = new AbortController();
  const notice = ({ blockedURI, effectiveDirective }: SecurityPolicyViolationEvent) =>
    (forbidden ||=
      blockedURI.startsWith(origin) && /^(connect|default)-src/.test(effectiveDirective));
  native("addEventListener")("securitypolicyviolation", notice, bare({ signal: stop.signal }));
  try {
    answer = await fetch(
      `${origin}/client/v1/embeds/${embed}`,
      bare({ credentials: "omit", signal: AbortSignal.timeout(PATIENCE_MS) } as const),
    );
  } catch {
    // The violation is told in a task of its own.
    await new Promise((done) => setTimeout(done));
    const why = forbidden
      ? `${policyLine(`connect-src ${origin}`)} to let the doctor ask`
      : `${UNREACHED} ${origin}: look at its address and at the line`;
    return { server: [false, why] };
  } finally {
    stop.abort();
  }
  const { server, embed: known, registered } = proven(place);
  if (answer.status === 404)
    return {
      server,
      embed: [false, `there is no embed ${embed}, or it is switched off: ask Cardveil's operator`],
    };
  if (!answer.ok) return { server: [false, `${origin} answered ${answer.status}`] };
  const { origin_registered: may } = ownOf(await answer.json(), "origin_registered");
  if (may === true) return { server, embed: known, registered };
  const why =
    self.origin === "null"
      ? OPAQUE()
      : `${location.origin} is not one of the origins of ${embed}: cardveil embed set ${embed} --origin ${location.origin}`;
  return { server, embed: known, registered: [false, why] };
}

interface Tried {
  frame: Finding;
  /** The directive that forbids it. */
  policy?: string;
  copies: boolean;
}

/** Whether a frame comes and says hello. It is told nothing, and taken away. */
function tryFrame({ origin, frameUrl }: Place): Promise<Tried> {
  const frame = native("createElement")("iframe");
  frame.allow = "clipboard-write";
  frame.src = frameUrl;
  frame.title = "Cardveil doctor";
  frame.setAttribute("aria-hidden", "true");
  frame.style.cssText = "position:absolute;width:0;height:0;border:0;visibility:hidden";
  const stop = new AbortController();
  const until = bare({ signal: stop.signal });
  return new Promise<Omit<Tried, "copies">>((resolve) => {
    const silence = `no frame of ${origin} within ${PATIENCE_MS / 1000} s: look for a content blocker, a service worker or a proxy that changes its headers`;
    setTimeout(() => resolve({ frame: [false, silence] }), PATIENCE_MS);
    native("addEventListener")(
      "securitypolicyviolation",
      ({ blockedURI, effectiveDirective }) => {
        if (
          blockedURI.startsWith(origin) &&
          /^(frame|child|default)-src/.test(effectiveDirective)
        ) {
          resolve({ frame: [false, "it was not let in"], policy: effectiveDirective });
        }
      },
      until,
    );
    window.addEventListener(
      "message",
      ({ data, source, origin: from }) => {
        if (source === frame.contentWindow && from === origin && isHello(data))
          resolve({ frame: [true, "the frame came and said hello"] });
      },
      until,
    );
    append(native("body"), frame);
  })
    .then((tried) => ({ ...tried, copies: mayCopy(frame, origin) }))
    .finally(() => {
      stop.abort();
      frame.remove();
    });
}

/** Chromium alone can tell; elsewhere the cardholder's click is what counts. */
function mayCopy(frame: HTMLIFrameElement, origin: string): boolean {
  const { featurePolicy } = frame as {
    featurePolicy?: { allowsFeature?(name: string, origin: string): boolean };
  };
  return typeof featurePolicy?.allowsFeature === "function"
    ? featurePolicy.allowsFeature("clipboard-write", origin)
    : true;
}

/** What lets the frame write to the clipboard. */
function copying(origin: string): string {
  const policy = `clipboard-write=(self "${origin}")`;
  return parent === window
    ? `add ${policy} to this page's Permissions-Policy`
    : `add allow="clipboard-write" to the iframe that this page is in, and ${policy} to each Permissions-Policy around`;
}

/** Told for completeness: the frame is served so that a page can be isolated around it. */
function isolation(): Finding {
  return [
    true,
    crossOriginIsolated
      ? "this page is isolated (COEP), and the frame may be in it"
      : "this page is not isolated, which the frame does not need",
  ];
}
