// In StrictMode, with options and functions made anew at every render: neither makes another card.
import { CardveilCard, CardveilPart, CardveilProvider, useCardveil } from "@cardveil/react";
import { StrictMode, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

const app = document.querySelector("#app");
const { embed, clientUrl } = app.dataset;

async function fetchToken() {
  const answer = await fetch("/token", { method: "POST" });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return answer.text();
}

function Whole() {
  const card = useRef(null);
  const [heard, setHeard] = useState([]);
  const [open, setOpen] = useState(true);
  const [german, setGerman] = useState(false);
  const hear = (what) => setHeard((before) => [...before, what]);
  return (
    <>
      <h1>Your card</h1>
      {open && (
        <CardveilCard
          ref={card}
          embed={embed}
          clientUrl={clientUrl}
          token={() => fetchToken()}
          locale={german ? "de" : "en"}
          appearance={{ theme: "light", radius: german ? 4 : 12 }}
          onReady={() => hear("ready")}
          onRevealed={({ fields }) => hear(`revealed ${fields}`)}
          onHidden={() => hear("hidden")}
          onError={({ code }) => hear(code)}
        />
      )}
      <p>
        <button onClick={() => card.current?.hide()}>Hide it</button> <button onClick={() => card.current?.reveal()}>Show it</button>{" "}
        <button onClick={() => setOpen(!open)}>{open ? "Close" : "Open"}</button>{" "}
        <button onClick={() => setGerman(!german)}>{german ? "In English" : "In German"}</button>
      </p>
      <output id="heard">{heard.join("\n")}</output>
    </>
  );
}

function Hide() {
  const { hide } = useCardveil();
  return <button onClick={hide}>Hide the parts</button>;
}

const Parts = () => (
  <CardveilProvider embed={embed} clientUrl={clientUrl} token={() => fetchToken()} masked={["cvv"]}>
    <h2>In parts, where the page puts them</h2>
    <CardveilPart name="pan" appearance={{ text: { fontSize: 20 } }} />
    <div className="row">
      <CardveilPart name="expiry" />
      <CardveilPart name="cvv" />
    </div>
    <Hide />
  </CardveilProvider>
);

createRoot(app).render(
  <StrictMode>
    <Whole />
    <Parts />
  </StrictMode>,
);
