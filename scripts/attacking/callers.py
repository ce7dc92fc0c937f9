"""Attacks with a key: what the least one may do, whom one of a person reaches, second factors."""

import base64
import json
import time

import rotation
from .target import Came, FULL, PERSONS, PIN, rows, seen
from .wire import totp


DATA = {
    "/open-api/v1/card/active": {"card_no": "NO", "cvv": "123", "card_last_no": "1111"},
    "/open-api/v1/card/list": {"start_time": "2020-01-01", "end_time": "2020-01-30"},
    "/open-api/v1/card/pin/set": {"card_no": "NO", "pin": base64.b64encode(bytes(16)).decode()},
    "/open-api/v1/card/status/update": {"card_no": "NO", "status": "2"},
    "/v1/cards/{card_id}": {"label": "Mine"},
    "/v1/cards/{card_id}/transitions": {"state": "suspended", "reason": "x"},
    "/v1/client-tokens": {"card_no": "NO"},
    "/v1/mfa/sessions": {"card_no": "NO", "operation": "VIEW_CARD"},
    "/v1/people/{person_id}/totp/confirm": {"code": "123456"},
    "/v1/simulator/wallet-tokens": {"card_id": "CARD", "wallet": "APPLE_PAY", "device_type": "WATCH", "device_id": "d", "decision": "green"},
    "/v1/webhooks": {"url": "https://hooks.example/x", "topics": ["card.state"]},
    "/v2/cards/{cardId}": {"name": "Mine"},
    "/v2/cards/{cardId}/pin": {"pin": "8350", "cardholderVerificationMethod": "OTP"},
    "/v2/cards/{cardId}/transition": {"state": "SUSPENDED"},
    "/v2/ipaddresses": {"ip": "198.51.100.7"},
    "/v2/webhooks": {"enabled": True, "url": "https://hooks.example/x", "webhookEventTypeName": "CardStateUpdated"},
    "/v2/mfa/sessions": {"accountId": "F50091", "personId": "PERSON", "cardId": "CARD", "operationName": "VIEW_CARD"},
}


BY_DEFAULT = {  # docs/reference/permissions.md
    "GET /open-api/v1/merchant/token", "GET /open-api/v1/merchant/client/{card_no}/token", "POST /open-api/v1/card/list",
    "GET /open-api/v1/card/{card_no}/detail", "GET /v2/cards/{cardId}/access-token", "POST /v2/mfa/sessions", "GET /v2/cards",
    "GET /v2/cards/{cardId}", "GET /v2/cards/tokens", "POST /v1/client-tokens", "POST /v1/mfa/sessions", "GET /v1/cards",
    "GET /v1/cards/{card_id}", "GET /v1/wallet-tokens", "GET /v1/wallet-tokens/{id}",
}


def operations(no, card, person):
    """Every operation of the three dialects, of this card and person."""
    names = {"card_no": no, "card_id": card, "cardId": card, "person_id": person, "id": card}
    query = {"accountId": "F50091", "personId": person, "cardholderVerificationMethod": "OTP"}
    for path, methods in json.loads((rotation.ROOT / "docs/openapi.json").read_text())["paths"].items():
        for method, operation in methods.items():
            if not path.startswith(("/v1/", "/v2/", "/open-api/")):
                continue
            asked = [x["name"] for x in operation.get("parameters", []) if x["in"] == "query" and x["name"] in query]
            address = path.format(**names) + ("?" + "&".join(f"{name}={query[name]}" for name in asked) if asked else "")
            body = None
            if "requestBody" in operation:
                text = json.dumps(DATA.get(path, {}))
                body = json.loads(text.replace('"NO"', f'"{no}"').replace('"CARD"', f'"{card}"').replace('"PERSON"', f'"{person}"'))
            yield f"{method.upper()} {path}", method.upper(), address, body


def say(t, method, address, body, key, access):
    if address.startswith("/open-api"):
        return t.keysecure(method, address, body, key, access)
    return (t.equals if address.startswith("/v2") else t.native)(method, address, body, key)


ABSENT = ("X99", "00000000-0000-4000-8000-0000000000ff", "00000000-0000-4000-8000-0000000000fe")


def telling(t, key, foreign, skip=()):
    """Where what is foreign is answered in another way than what is absent."""
    won, access = [], t.login(key)
    for (name, *theirs), (_, *absent) in zip(operations(*foreign), operations(*ABSENT)):
        # They make something, or log in: of each caller's own.
        if name in skip or name in ("GET /open-api/v1/merchant/token", "POST /v1/webhooks", "POST /v2/webhooks"):
            continue
        first, second = say(t, *theirs, key, access), say(t, *absent, key, access)
        if first.told() != second.told():
            won.append(f"{name}: {first.status} {first.code()} of a foreign card, {second.status} {second.code()} of none")
    return won


def least_key(t):
    """Every operation with a pair that was made without flags, of own, foreign and absent cards."""
    t.start()
    own, foreign, access, won, tried, allowed = t.card_id("C0"), t.card_id("X0", t.other), t.login(), [], 0, 0
    before = rows(t)
    for name, *asked in operations("C0", own, PERSONS[0]):
        answer = say(t, *asked, t.api_key, access)
        tried += 1
        refused = answer.status == 403 or answer.code() in (1010, 1013) or name == "GET /v1/wallet-tokens/{id}"
        allowed += not refused
        if refused == (name in BY_DEFAULT) and name != "GET /v1/wallet-tokens/{id}":
            won.append(f"{name}: {answer.status} {answer.code()}")
        if b"4111111111111111" in answer.body or b"2030" in answer.body:
            won.append(f"{name} tells what is sealed")
    if rows(t) != before:
        won.append("it changed rows")
    seen(allowed >= 10, "what such a key may do")
    won += telling(t, t.api_key, ("X0", foreign, PERSONS[2]))
    for flag in ("--export", "--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    mighty = t.credential(scopes=FULL)["api_key"]
    seen(t.native("PATCH", f"/v1/cards/{own}", {"label": "Mine"}, mighty).status == 200 and rows(t) != before, "a change of a row")
    people = ("PUT /v1/people/{person_id}/totp", "DELETE /v1/people/{person_id}/totp", "POST /v1/people/{person_id}/totp/confirm")
    won += telling(t, mighty, ("X0", foreign, PERSONS[2]), people)
    return Came(tried * 5, f"{allowed} of {tried} operations answered: those of docs/reference/permissions.md; foreign is as absent", won)


def bound_key(t):
    """A credential of one person against another's cards, factors and codes."""
    t.start()
    for flag in ("--export", "--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    scopes = ("cards:read:own", "cards:write:own", "cards:export", "pins:read", "pins:set", "mfa:manage", "wallets:provision")
    key = t.credential("--person", PERSONS[0], scopes=scopes)["api_key"]
    mighty = t.credential(scopes=FULL)["api_key"]
    own, theirs, won, tried = t.card_id("C0"), t.card_id("C1"), [], 0
    for scope in ("cards:read:any", "cards:write:any", "webhooks:manage", "mfa:codes"):
        tried += 1
        try:
            t.credential("--person", PERSONS[0], scopes=("cards:read:own", scope))
            won.append(f"it may have {scope}")
        except AssertionError:
            pass
    seen(say(t, "GET", f"/v1/cards/{own}", None, key, None).status == 200, "its own card")
    before = rows(t)
    won += telling(t, key, ("C1", theirs, PERSONS[1]))
    tried += 2 * len(DATA)
    for list_of in ("/v1/cards?limit=100", f"/v1/cards?person_id={PERSONS[1]}", "/v1/cards?search=Travel", "/v1/wallet-tokens",
                    "/v2/cards?accountId=F50091", f"/v2/cards?accountId=F50091&personId={PERSONS[1]}", "/v2/cards/tokens?accountId=F50091"):
        tried += 1
        if PERSONS[1].encode() in say(t, "GET", list_of, None, key, None).body:
            won.append(f"{list_of} lists another's")
    t.run("merchant", "set", t.merchant, "--mfa", "view-card=required")
    secret = t.native("PUT", f"/v1/people/{PERSONS[1]}/totp", key=mighty).json()["secret"]
    t.native("POST", f"/v1/people/{PERSONS[1]}/totp/confirm", {"code": totp(secret)}, mighty)
    session = t.native("POST", "/v1/mfa/sessions", {"card_no": "C1", "operation": "VIEW_CARD"}, mighty).json()["session_id"]
    mfa = {"session_id": session, "code": totp(secret, time.time() + 30)}
    for card, who in (("C1", key), ("C0", key), ("C3", mighty)):
        tried += 1
        if t.native("POST", "/v1/client-tokens", {"card_no": card, "mfa": mfa}, who).status == 201:
            won.append(f"another's second factor passed for {card}")
    seen(t.native("POST", "/v1/client-tokens", {"card_no": "C1", "mfa": mfa}, mighty).status == 201, "the right use of it")
    for who, login in ((key, t.login(mighty)), (mighty, t.login(key))):
        tried += 1
        if t.keysecure("GET", "/open-api/v1/card/C1/detail", None, who, login).code() != 1007:
            won.append("an Access-Token of another credential was taken")
    if {k: v for k, v in rows(t).items() if k != "merchant"} != {k: v for k, v in before.items() if k != "merchant"}:
        won.append("it changed rows")
    return Came(tried, "another person's cards and factors are as absent; no webhooks, no codes", won)


def second_factors(t):
    """Guessed codes, the weaker factor, PINs beyond the budget, references that are none."""
    for name in ("CARD_MOST", "PERSON_MOST"):
        t.env.pop(f"CARDVEIL_BUDGETS_{name}")
    t.start()
    for flag in ("--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    t.run("merchant", "set", t.merchant, "--mfa", "view-card=required")
    key, won, tried = t.credential(scopes=FULL)["api_key"], [], 0
    secret = t.native("PUT", f"/v1/people/{PERSONS[0]}/totp", key=key).json()["secret"]
    t.native("POST", f"/v1/people/{PERSONS[0]}/totp/confirm", {"code": totp(secret, time.time() - 30)}, key)
    right = {totp(secret, time.time() + 30 * step) for step in range(-3, 10)}
    open_session = lambda **more: t.native("POST", "/v1/mfa/sessions", {"card_no": "C0", "operation": "VIEW_CARD", **more}, key)
    issue = lambda session, code: t.native("POST", "/v1/client-tokens", {"card_no": "C0", "mfa": {"session_id": session, "code": code}}, key)
    tried += 1
    if open_session(factor="OTP").status == 201:
        won.append("the weaker factor may be picked")
    session, answers = open_session().json()["session_id"], set()
    for guess in range(200):
        if f"{guess:06}" not in right:
            tried += 1
            answer = issue(session, f"{guess:06}")
            answers.add((answer.status, answer.code()))
    if answers != {(403, "mfa_refused")}:
        won.append(f"guesses were answered {answers}")
    if issue(session, totp(secret)).status == 201:
        won.append("a session outlived its wrong codes")
    tried += 25
    if any(open_session().status == 201 for _ in range(25)):
        won.append("guessing goes on in a new session")
    t.run("mfa", "reset", "--merchant", t.merchant, "--person", PERSONS[0])
    passed = issue(open_session().json()["session_id"], totp(secret))
    seen(passed.status == 201, "the right code")
    t.run("merchant", "set", t.merchant, "--mfa", "view-card=delegated")
    delegated = lambda text: t.equals("GET", f"/v2/cards/{card}/access-token?accountId=F50091&sessionId={text}", key=key)
    card = t.card_id("C2")
    for text in ("undefined", "null", "0", "NaN", "[object%20Object]", "None", "nil", "false", "", "%20", "UNDEFINED", "00000000-0000-0000-0000-000000000000"):
        tried += 1
        if delegated(text).status == 200:
            won.append(f"the reference {text!r} counts")
    seen(delegated("login-7f3a9c").status == 200, "a reference that is one")
    # With a policy off, 20 a day are free, and beyond them a second factor is asked for.
    pin = f"/v2/cards/{t.card_id('C1')}/pin?accountId=F50091&personId={PERSONS[1]}&cardholderVerificationMethod=OTP"
    set_pins = [t.equals("PUT", pin, {"pin": PIN}, key).status for _ in range(150)]
    tried += len(set_pins)
    seen(200 in set_pins, "a PIN set")
    if set_pins.count(200) > 50:
        won.append(f"{set_pins.count(200)} of 150 PINs were set")
    return Came(tried, f"no code, no weaker factor, no reference passed; {set_pins.count(200)} of {len(set_pins)} PINs set, then refused", won)
