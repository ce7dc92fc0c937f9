#!/usr/bin/python3
"""The smallest window around WebKit: one view as large as asked, for WebKitWebDriver to steer.

MiniBrowser, which comes with WebKit, is never narrower than its toolbar, and takes no settings.
Arguments: WIDTHxHEIGHT, the proxy's address, `light` or `dark`, and `reduce` for reduced motion. With two
addresses more, of a page and of tokens, the view has the app of examples/webview around it, which opens the
page; what the app hears is printed.
"""

import importlib.util
import pathlib
import sys

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")
from gi.repository import Gtk, WebKit2  # noqa: E402

size, proxy, scheme, motion, *app = sys.argv[1:]
width, height = map(int, size.split("x"))

look = Gtk.Settings.get_default()
look.set_property("gtk-application-prefer-dark-theme", scheme == "dark")
look.set_property("gtk-enable-animations", motion != "reduce")

data = WebKit2.WebsiteDataManager.new_ephemeral()
data.set_network_proxy_settings(WebKit2.NetworkProxyMode.CUSTOM, WebKit2.NetworkProxySettings.new(proxy, []))
context = WebKit2.WebContext.new_with_website_data_manager(data)
context.set_automation_allowed(True)


def create_view(_session):
    view = WebKit2.WebView(web_context=context, is_controlled_by_automation=True)
    window = Gtk.Window(decorated=False, default_width=width, default_height=height)
    window.add(view)
    window.show_all()
    view.connect("close", lambda _view: Gtk.main_quit())
    if app:
        open_app(view, *app)
    return view


def open_app(view, page, token_address):
    file = pathlib.Path(__file__).parents[4] / "examples/webview/card.py"
    spec = importlib.util.spec_from_file_location("card", file)
    card = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(card)
    view.bridge = card.Bridge(view, page, card.token_from(token_address), heard=lambda text: print(text, flush=True))


def start(_context, session):
    info = WebKit2.ApplicationInfo()
    info.set_name("shell")
    session.set_application_info(info)
    session.connect("create-web-view", create_view)


context.connect("automation-started", start)
Gtk.main()
