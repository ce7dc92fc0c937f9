#!/usr/bin/python3
"""An app with a card in it: a window of GTK around a WebView, which is what iOS' WKWebView is made of too.

    cardveil demo --allow-origin http://localhost:7500
    node examples/server.mjs
    examples/webview/card.py http://127.0.0.1:7420/webview/emb_demo_app http://localhost:7500/token

Debian and Ubuntu: apt install python3-gi gir1.2-webkit2-4.1
"""

import json
import sys
import threading
import urllib.request

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")
from gi.repository import GLib, Gtk, WebKit2  # noqa: E402


class Bridge:
    """Speaks to the page of a WebView. Not a digit comes over it: the page shows the card by itself."""

    def __init__(self, view, page, fetch_token, heard=print):
        self.view = view
        self.fetch_token = fetch_token
        self.heard = heard
        self.origin = WebKit2.SecurityOrigin.new_for_uri(page).to_string()
        content = view.get_user_content_manager()
        content.connect("script-message-received::cardveilApp", self.on_message)
        content.register_script_message_handler("cardveilApp")
        view.connect("decide-policy", self.on_policy)
        view.load_uri(page)

    def on_policy(self, _view, decision, kind):
        """Whatever happens in the page, nothing but the page is opened here: the bridge is for it alone."""
        if kind != WebKit2.PolicyDecisionType.RESPONSE:
            address = decision.get_navigation_action().get_request().get_uri()
            if WebKit2.SecurityOrigin.new_for_uri(address).to_string() != self.origin:
                decision.ignore()
                return True
        return False

    def on_message(self, _content, result):
        message = json.loads(result.get_js_value().to_string())
        self.heard(json.dumps(message))
        if message["type"] == "hello":
            self.say({"type": "configure", "fields": ["pan", "expiry", "cvv", "name"]})
        elif message["type"] == "needToken":
            threading.Thread(target=self.bring_token, daemon=True).start()

    def bring_token(self):
        try:
            answer = {"type": "token", "token": self.fetch_token()}
        except OSError:
            answer = {"type": "noToken"}
        GLib.idle_add(self.say, answer)

    def say(self, message):
        # JSON is JavaScript, and json.dumps leaves nothing in it but ASCII.
        script = f"cardveil.receive({json.dumps(message)})"
        self.view.evaluate_javascript(script, -1, None, None, None, None)


def token_from(address):
    """Asks the app's own server, which knows who is signed in, and so whose card it is."""

    def fetch():
        with urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=10) as answer:
            return answer.read().decode()

    return fetch


def main(page, token_address):
    window = Gtk.Window(title="Your card", default_width=375, default_height=520)
    # Ephemeral: nothing of the page is written to disk.
    view = WebKit2.WebView(web_context=WebKit2.WebContext.new_ephemeral())
    bridge = Bridge(view, page, token_from(token_address), heard=lambda text: print(text, flush=True))
    buttons = Gtk.Box(spacing=8, margin=8)
    for label, message in (("Show", "reveal"), ("Hide", "hide")):
        button = Gtk.Button(label=label)
        button.connect("clicked", lambda _button, message=message: bridge.say({"type": message}))
        buttons.pack_start(button, True, True, 0)
    box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL)
    box.pack_start(view, True, True, 0)
    box.pack_start(buttons, False, False, 0)
    window.add(box)
    window.connect("destroy", Gtk.main_quit)
    # Whoever looks at another window does not need the card on this one.
    window.connect("focus-out-event", lambda *_: bridge.say({"type": "hide"}))
    window.show_all()
    Gtk.main()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
