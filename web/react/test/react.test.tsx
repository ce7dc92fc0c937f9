/**
 * What React does to components, and what a card makes of it. The SDK is played by a factory that
 * takes notes.
 */
import type {
  Card,
  CardEvents,
  CardOptions,
  CardveilFactory,
  CardveilOptions,
} from "@cardveil/js/pure";
import { act, createRef, type ReactNode, StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type CardHandle,
  CardveilCard,
  CardveilPart,
  CardveilProvider,
  useCardveil,
} from "../src/index.tsx";

interface Made {
  place: CardveilOptions;
  options: CardOptions;
  handlers: Map<string, (detail: unknown) => void>;
  mounted: [Element, string | undefined, unknown][];
  taken: string[];
  calls: string[];
  updates: object[];
  destroyed: boolean;
}
const made: Made[] = vi.hoisted(() => []);

vi.mock("@cardveil/js/pure", () => {
  const Cardveil: CardveilFactory = (place) => ({
    card(options) {
      if (options.fields?.length === 0 || options.locale === "english!")
        throw Object.assign(new Error("fields"), { code: "bad_option" });
      const card: Made = {
        place,
        options,
        handlers: new Map(),
        mounted: [],
        taken: [],
        calls: [],
        updates: [],
        destroyed: false,
      };
      made.push(card);
      const mount = (target: Element, part?: string, settings?: { title?: string }) => {
        if (card.destroyed) throw new Error("this card was used before");
        if (settings?.title === "") throw Object.assign(new Error("title"), { code: "bad_option" });
        card.mounted.push([target, part, settings]);
        return () => void card.taken.push(part ?? "card");
      };
      return {
        mount: mount as Card["mount"],
        on: <E extends keyof CardEvents>(event: E, handler: (detail: CardEvents[E]) => void) => {
          card.handlers.set(event, handler as (detail: unknown) => void);
          return () => {};
        },
        update: (changes) => {
          if (changes.locale === "english!")
            throw Object.assign(new Error("locale"), { code: "bad_option" });
          card.updates.push(changes);
        },
        reveal: () => void card.calls.push("reveal"),
        hide: () => void card.calls.push("hide"),
        destroy: () => void (card.destroyed = true),
      };
    },
    prepare: () => () => {},
    doctor: () => Promise.reject(new Error("not asked")),
  });
  return { Cardveil };
});

let root: Root;
let host: HTMLElement;

beforeEach(() => {
  (globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
  made.length = 0;
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});
afterEach(async () => {
  await act(async () => root.unmount());
  document.body.replaceChildren();
});

const render = (node: ReactNode) => act(async () => root.render(node));
const place = { embed: "emb_1", clientUrl: "https://cards.example.com" };
const living = () => made.filter(({ destroyed }) => !destroyed);
const only = (): Made => {
  const [card, ...more] = living();
  if (card === undefined || more.length > 0) throw new Error(`${made.length} cards live`);
  return card;
};

describe("a whole card", () => {
  it("is one, mounted in its element, with the options that were given and no others", async () => {
    await render(
      <CardveilCard
        {...place}
        token="cvt_test_1"
        fields={["pan"]}
        hideAfter={30}
        className="mine"
      />,
    );
    expect(made).toHaveLength(1);
    expect(only().place).toEqual(place);
    expect(only().options).toEqual({ token: "cvt_test_1", fields: ["pan"], hideAfter: 30 });
    expect(only().mounted[0]?.[0]).toBe(host.querySelector(".mine"));
  });

  it("is what its own props say, whatever `Object.prototype` holds", async () => {
    const wishes = {
      clientUrl: "https://evil.example",
      fields: ["cvv"],
      copy: true,
      title: "Evil",
      className: "evil",
      id: "evil",
      transparent: true,
      children: "Evil",
      onReady: "text",
    };
    try {
      for (const [name, value] of Object.entries(wishes))
        Object.defineProperty(Object.prototype, name, {
          value,
          configurable: true,
          writable: true,
        });
      await render(<CardveilCard embed="emb_1" token="cvt_test_1" hideAfter={30} />);
      expect(only().place).toStrictEqual({ embed: "emb_1" });
      expect(only().options).toStrictEqual({ token: "cvt_test_1", hideAfter: 30 });
      expect(() => only().handlers.get("ready")?.(undefined)).not.toThrow();
      expect(host.querySelector(".evil, #evil")).toBeNull();
      await render(
        <CardveilProvider embed="emb_1" token="cvt_test_1">
          <CardveilPart name="copy-pan" />
        </CardveilProvider>,
      );
      expect(only().mounted[0]?.[2]).toStrictEqual({});
    } finally {
      for (const name of Object.keys(wishes)) Reflect.deleteProperty(Object.prototype, name);
    }
  });

  it("is compared by what its options say, whatever `toJSON` says of every object", async () => {
    Object.defineProperty(Object.prototype, "toJSON", {
      value: () => "all the same",
      configurable: true,
    });
    try {
      await render(
        <CardveilCard
          {...place}
          token="cvt_test_1"
          fields={["pan"]}
          appearance={{ radius: 4, theme: "dark" }}
        />,
      );
      await render(
        <CardveilCard
          {...place}
          token="cvt_test_1"
          fields={["pan"]}
          appearance={{ theme: "dark", radius: 4 }}
        />,
      );
      expect(made).toHaveLength(1);
      await render(
        <CardveilCard
          {...place}
          token="cvt_test_2"
          fields={["pan"]}
          appearance={{ theme: "dark", radius: 4 }}
        />,
      );
      expect(made).toHaveLength(2);
    } finally {
      Reflect.deleteProperty(Object.prototype, "toJSON");
    }
  });

  it("is one in StrictMode, which mounts twice (react-stripe-js#256, #292, #376, stripe-js#568)", async () => {
    const token = vi.fn(async () => "cvt_test_1");
    await render(
      <StrictMode>
        <CardveilCard {...place} token={token} />
      </StrictMode>,
    );
    expect(made).toHaveLength(1);
    expect(only().mounted).toHaveLength(1);
    expect(token).not.toHaveBeenCalled();
  });

  it("stays when options are made anew and say the same (react-stripe-js #296)", async () => {
    const App = ({ times }: { times: number }) => (
      <CardveilCard
        {...place}
        token={async () => `cvt_test_${times}`}
        fields={["pan", "cvv"]}
        onReady={() => {}}
        appearance={times % 2 === 0 ? { theme: "dark", radius: 4 } : { radius: 4, theme: "dark" }}
      />
    );
    for (let times = 0; times < 4; times += 1) await render(<App times={times} />);
    expect(made).toHaveLength(1);
  });

  it("calls the latest function for a token, and the latest handlers", async () => {
    const heard: string[] = [];
    const App = ({ time }: { time: string }) => (
      <CardveilCard
        {...place}
        token={() => time}
        onRevealed={({ fields }) => heard.push(`${time} ${fields}`)}
        onReady={() => heard.push(time)}
      />
    );
    await render(<App time="first" />);
    await render(<App time="second" />);
    const { options, handlers } = only();
    expect((options.token as () => string)()).toBe("second");
    handlers.get("ready")?.(undefined);
    handlers.get("revealed")?.({ fields: ["pan"] });
    expect(heard).toEqual(["second", "second pan"]);
  });

  it.each<[string, Partial<CardOptions & CardveilOptions>]>([
    ["token", { token: "cvt_test_2" }],
    ["token, from text to function", { token: () => "cvt_test_2" }],
    ["embed", { embed: "emb_2" }],
    ["fields", { fields: ["pan"] }],
    ["masked", { masked: true }],
  ])("is another when its %s changes", async (_, change) => {
    await render(<CardveilCard {...place} token="cvt_test_1" />);
    await render(<CardveilCard {...place} token="cvt_test_1" {...change} />);
    expect(made.map(({ destroyed }) => destroyed)).toEqual([true, false]);
  });

  it.each<[string, Partial<CardOptions>]>([
    ["appearance", { appearance: { theme: "dark" } }],
    ["locale", { locale: "de" }],
    ["labels", { labels: { hide: "Weg" } }],
    ["title", { title: "My card" }],
    ["hideAfter", { hideAfter: 30 }],
    ["copy", { copy: false }],
    ["timeouts", { timeouts: { frame: 40 } }],
  ])(
    "stays when its %s changes, is told, and is told when that is no longer given",
    async (name, change) => {
      const token = vi.fn(async () => "cvt_test_1");
      const App = (props: Partial<CardOptions>) => (
        <StrictMode>
          <CardveilCard {...place} token={token} {...props} />
        </StrictMode>
      );
      await render(<App />);
      await render(<App {...change} />);
      await render(<App {...change} />);
      await render(<App />);
      expect(made).toHaveLength(1);
      expect(only().updates.map((update) => (update as Record<string, unknown>)[name])).toEqual([
        change[name as keyof CardOptions],
        undefined,
      ]);
      for (const update of only().updates)
        expect(Object.keys(update)).toEqual([
          "appearance",
          "locale",
          "hideAfter",
          "copy",
          "labels",
          "title",
          "timeouts",
        ]);
      expect(token).not.toHaveBeenCalled();
    },
  );

  it("takes a token function's new identity for the same", async () => {
    await render(<CardveilCard {...place} token={async () => "cvt_test_1"} />);
    await render(<CardveilCard {...place} token={async () => "cvt_test_1"} />);
    expect(made).toHaveLength(1);
    expect(only().updates).toEqual([]);
  });

  it("tells of a wrong change and keeps its card", async () => {
    const onError = vi.fn();
    await render(<CardveilCard {...place} token="t" onError={onError} />);
    await render(<CardveilCard {...place} token="t" onError={onError} locale="english!" />);
    expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: "bad_option" }));
    expect(made.map(({ destroyed }) => destroyed)).toEqual([false]);
  });

  it("comes once the option is right that kept it from coming", async () => {
    const onError = vi.fn();
    await render(<CardveilCard {...place} token="t" onError={onError} locale="english!" />);
    expect(made).toEqual([]);
    await render(<CardveilCard {...place} token="t" onError={onError} locale="en" />);
    expect(only().options.locale).toBe("en");
    expect(onError).toHaveBeenCalledTimes(1);
  });

  it("is destroyed with its component, even when the page was taken apart (react-stripe-js #291)", async () => {
    const App = () => {
      const [open, setOpen] = useState(true);
      return (
        <main>
          <button onClick={() => setOpen(false)} />
          {open && <CardveilCard {...place} token="t" />}
        </main>
      );
    };
    await render(<App />);
    host.querySelector("[data-cardveil]")?.replaceChildren("taken by someone else");
    await act(async () => host.querySelector("button")?.click());
    expect(living()).toEqual([]);
  });

  it("is one of many on a page (react-stripe-js #154)", async () => {
    await render(
      <>
        {["a", "b", "c"].map((token) => (
          <CardveilCard key={token} {...place} token={token} />
        ))}
      </>,
    );
    expect(living().map(({ options }) => options.token)).toEqual(["a", "b", "c"]);
  });

  it("gives reveal and hide to a ref, before there is a card too", async () => {
    const ref = createRef<CardHandle>();
    await render(<CardveilCard {...place} token="t" ref={ref} />);
    ref.current?.hide();
    ref.current?.reveal();
    expect(only().calls).toEqual(["hide", "reveal"]);
    const kept = ref.current;
    await render(null);
    kept?.reveal();
    expect(made[0]?.calls).toEqual(["hide", "reveal"]);
  });

  it("tells of a wrong option, or logs it, and leaves the page alone", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    const onError = vi.fn();
    await render(
      <>
        <p>the page</p>
        <CardveilCard {...place} token="t" fields={[]} onError={onError} />
      </>,
    );
    expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: "bad_option" }));
    expect(log).not.toHaveBeenCalled();
    await render(
      <>
        <p>the page</p>
        <CardveilCard {...place} token="t" fields={[]} />
      </>,
    );
    expect(host.textContent).toBe("the page");
  });
});

describe("a card in parts", () => {
  const Page = ({ cvv = true, token = "t" }) => (
    <StrictMode>
      <CardveilProvider {...place} token={token}>
        <CardveilPart name="pan" />
        {cvv && <CardveilPart name="cvv" title="Code" />}
        <CardveilPart name="copy-pan" transparent />
      </CardveilProvider>
    </StrictMode>
  );

  it("is one card for all of its parts, in StrictMode too", async () => {
    await render(<Page />);
    expect(made).toHaveLength(1);
    const parts = only().mounted.map(([target, part, options]) => [
      target.getAttribute("data-cardveil"),
      part,
      options,
    ]);
    expect(parts).toEqual([
      ["pan", "pan", {}],
      ["cvv", "cvv", { title: "Code" }],
      ["copy-pan", "copy-pan", { transparent: true }],
    ]);
  });

  it("takes a part away with its component, and mounts one that comes later", async () => {
    await render(<Page />);
    await render(<Page cvv={false} />);
    expect(only().taken).toEqual(["cvv"]);
    await render(<Page />);
    expect(made).toHaveLength(1);
    expect(only().mounted).toHaveLength(4);
  });

  it("moves to another card, and mounts nothing on the one that is over", async () => {
    await render(<Page cvv={false} />);
    await render(<Page cvv={true} token="u" />);
    expect(made.map(({ destroyed }) => destroyed)).toEqual([true, false]);
    expect(only().mounted.map(([, part]) => part)).toEqual(["pan", "cvv", "copy-pan"]);
  });

  it("tells of a part's wrong option and keeps the others", async () => {
    const onError = vi.fn();
    await render(
      <CardveilProvider {...place} token="t" onError={onError}>
        <CardveilPart name="pan" title="" />
        <CardveilPart name="cvv" />
      </CardveilProvider>,
    );
    expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: "bad_option" }));
    expect(only().mounted.map(([, part]) => part)).toEqual(["cvv"]);
  });

  it("gives reveal and hide to the page's own buttons", async () => {
    const Button = () => <button onClick={useCardveil().hide} />;
    await render(
      <CardveilProvider {...place} token="t">
        <CardveilPart name="pan" />
        <Button />
      </CardveilProvider>,
    );
    host.querySelector("button")?.click();
    expect(only().calls).toEqual(["hide"]);
  });

  it("says so when there is no provider", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    await expect(render(<CardveilPart name="pan" />)).rejects.toThrow("needs a CardveilProvider");
  });
});
