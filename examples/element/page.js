// A token function is a property: attributes are text. It is called when a token is needed, and never before.
async function token() {
  const answer = await fetch("/token", { method: "POST" });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return answer.text();
}

for (const card of document.querySelectorAll("cardveil-card")) {
  card.token = token;
  for (const event of ["revealed", "hidden", "error"]) {
    card.addEventListener(event, ({ detail }) => {
      document
        .querySelector("#heard")
        .append(`${card.id} ${event} ${detail?.code ?? detail?.fields ?? ""}\n`);
    });
  }
}
