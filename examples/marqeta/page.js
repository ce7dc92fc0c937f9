// As in guides to Marqeta.js, version 2.
const heard = (what) => document.querySelector("#heard").append(`${what}\n`);
const styles = {
  span: { color: "var(--digits)", "font-size": "20px", "letter-spacing": "0.02em" },
};

const answer = await fetch("/token", { method: "POST" });
window.marqeta.bootstrap({
  clientAccessToken: await answer.text(),
  component: {
    showPan: {
      cardPan: { domId: "mq-card-pan", format: true, styles },
      cardExp: { domId: "mq-card-exp", format: true, styles },
      cardCvv: {
        domId: "mq-card-cvv",
        styles: { span: { color: "darkslateblue", "font-weight": "700" } },
      },
      copyCardPan: {
        domId: "mq-copy-card-pan",
        mode: "transparent",
        onCopySuccess: () => heard("copied"),
        onCopyFailure: (error) => heard(`copying failed: ${error.message}`),
      },
    },
  },
  callbackEvents: {
    onSuccess: () => heard("success"),
    onFailure: (error) => heard(`failure: ${error.message}`),
  },
});
