"""What a generator cannot know: each API's way to present a credential, KeySecure's clock and login.
Loaded by Schemathesis; `run.py` sets `CARDVEIL_DEMO` to what `demo --json` printed."""

import json
import os
import time
import urllib.request

import schemathesis

DEMO = json.loads(os.environ["CARDVEIL_DEMO"])
_login = {}


def now_ms():
    return str(int(time.time() * 1000))


def access_token():
    """KeySecure's login token, asked for once."""
    if not _login:
        request = urllib.request.Request(
            DEMO["merchant_url"] + "/open-api/v1/merchant/token",
            headers={"Api-Key": DEMO["api_key"], "Timestamp": now_ms()},
        )
        with urllib.request.urlopen(request) as answer:
            _login.update(json.load(answer)["data"])
    return _login["access_token"]


@schemathesis.hook
def before_call(context, case, kwargs):
    """Right headers for KeySecure, wherever the case has not left them out on purpose."""
    if case.path.startswith("/open-api/"):
        right = {"Timestamp": now_ms(), "Api-Key": DEMO["api_key"], "Access-Token": access_token()}
        for name, value in right.items():
            if case.headers and name in case.headers:
                case.headers[name] = value
