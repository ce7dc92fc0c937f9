/** A session of WebDriver (W3C, "WebDriver"), as far as one browser with frames needs it. */

export interface ElementReference {
  "element-6066-11e4-a52e-4f735466cecf": string;
}

/** The driver's error code, such as `no such frame`, is the message's start. */
export class WebDriverError extends Error {}

export class Session {
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(private readonly address: string) {}

  static async start(driver: string, capabilities: object): Promise<Session> {
    const { sessionId } = (await call("POST", `${driver}/session`, {
      capabilities: { alwaysMatch: capabilities },
    })) as { sessionId: string };
    return new Session(`${driver}/session/${sessionId}`);
  }

  get(command: string): Promise<unknown> {
    return call("GET", `${this.address}/${command}`);
  }

  post(command: string, body: object = {}): Promise<unknown> {
    return call("POST", `${this.address}/${command}`, body);
  }

  delete(command = ""): Promise<unknown> {
    return call("DELETE", command === "" ? this.address : `${this.address}/${command}`);
  }

  /** One after the other: a session stands in one frame at a time. */
  alone<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(run);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Runs a function's source where the session stands. What it answers or throws comes back. */
  async run<T>(source: string, ...args: unknown[]): Promise<T> {
    const script = `const done = arguments[arguments.length - 1];
      Promise.resolve([...arguments].slice(0, -1)).then((args) => (${source})(...args)).then(
        (value) => done({ value }),
        (error) => done({ error: String(error) }));`;
    const { value, error } = (await this.post("execute/async", { script, args })) as {
      value: T;
      error?: string;
    };
    if (error !== undefined) throw new Error(error);
    return value;
  }
}

async function call(method: string, url: string, body?: object): Promise<unknown> {
  const response = await fetch(
    url,
    body === undefined ? { method } : { method, body: JSON.stringify(body) },
  );
  const { value } = (await response.json()) as {
    value: { error?: string; message?: string } | null;
  };
  if (!response.ok)
    throw new WebDriverError(
      `${value?.error}: ${value?.message} (${method} ${url.replace(/.*session\/[^/]*/, "")})`,
    );
  return value;
}

/** The keys that have no character of their own (WebDriver 17.4.2, "Keyboard actions"). */
const KEYS: Record<string, string> = {
  Tab: "\uE004",
  Enter: "\uE007",
  Shift: "\uE008",
  Control: "\uE009",
  Escape: "\uE00C",
  Space: " ",
  End: "\uE010",
  Home: "\uE011",
  ArrowLeft: "\uE012",
  ArrowUp: "\uE013",
  ArrowRight: "\uE014",
  ArrowDown: "\uE015",
  Backspace: "\uE003",
  Delete: "\uE017",
};

/** A key as Playwright names it, such as `Shift+Tab`, as actions. */
export function keyActions(key: string): object {
  const values = key.split("+").map((part) => KEYS[part] ?? part.toLowerCase());
  const down = values.map((value) => ({ type: "keyDown", value }));
  const up = values.map((value) => ({ type: "keyUp", value })).reverse();
  return { actions: [{ type: "key", id: "keyboard", actions: [...down, ...up] }] };
}
