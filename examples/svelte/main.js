import { mount } from "svelte";
import App from "./App.svelte";

const target = document.querySelector("#app");
const { embed, clientUrl } = target.dataset;

async function token() {
  const answer = await fetch("/token", { method: "POST" });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return answer.text();
}

mount(App, { target, props: { embed, clientUrl, token } });
