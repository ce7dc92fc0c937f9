import { createApp } from "vue";
import App from "./App.vue";

const { embed, clientUrl } = document.querySelector("#app").dataset;

async function token() {
  const answer = await fetch("/token", { method: "POST" });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return answer.text();
}

createApp(App, { embed, clientUrl, token }).mount("#app");
