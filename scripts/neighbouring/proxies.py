"""nginx and haproxy with the lines of docs/operate/proxies.md: who is seen to call, and requests on connections that rested."""

import collections
import concurrent.futures
import contextlib
import threading
import time

import rotation
from .beside import CALLER, CLOSED, Certificates, Issuer, Process, block, connect, version, with_ours

CONNECTIONS = 8
# The seconds after which Cardveil used to, proxies do, and Cardveil does let connections go.
MOMENTS = (10, 60, 76)
# So long before and after it the proxy does nothing, as one that is busy.
STALL = 0.5
FORGED = b"203.0.113.9, \xff"


def nginx(folder):
    return proxied(folder, Nginx, version("/usr/sbin/nginx", "-v"))


def haproxy(folder):
    return proxied(folder, Haproxy, version("/usr/sbin/haproxy", "-v"))


def proxied(folder, proxy, which):
    certificates = Certificates(folder, ("DNS:cards.example", "DNS:cards-api.example", "IP:127.0.0.1"))
    d = Issuer(folder)
    tls = certificates.context()
    try:
        d.env["CARDVEIL_NETWORK_TRUSTED_PROXIES"] = '["127.0.0.1/32"]'
        d.start()
        with contextlib.ExitStack() as stack:
            started = [stack.enter_context(proxy.http(folder, n, d, certificates)) for n in range(len(MOMENTS))]
            for one in started:
                through(d, one.api, one.cards, tls)
            callers(d)
            told = rested(d, started, tls)
        d.stop()
        d.env["CARDVEIL_NETWORK_PROXY_PROTOCOL"] = '["merchant"]'
        d.start()
        with proxy.tcp(folder, d) as one:
            through(d, one.api, ("127.0.0.1", d.client_at), None)
            callers(d)
    finally:
        d.kill()
    return which, f"issue and redeem by HTTP over TLS and by TCP, as {CALLER}, also with a forged field; {told}"


def through(d, api, cards, tls):
    """Issue and redeem, plain and with a forged X-Forwarded-For. The key is taken from the caller's own address alone."""
    for forged in (None, FORGED):
        status, token = d.issue(connect(api, tls), forged)
        assert status == 201, f"issue: {status}"
        status, code = d.redeem(connect(cards, tls), token, forged=forged)
        assert status == 200, f"redeem: {status} {code}"


def callers(d):
    seen = collections.Counter(line.get("caller.ip") for line in d.requests() if line.get("listener") == "merchant")
    assert seen and set(seen) == {CALLER}, f"the access log names {seen}"


def rested(d, proxies, tls):
    """All moments at once, each with a proxy of its own. The proxy stalls, a request comes, and then the moment does:
    what the proxy sees first when it goes on is the request, which it sends on a connection that rests. Had Cardveil
    closed that at this moment, the answer would be a 502, each time."""
    came = [collections.Counter() for _ in proxies]

    def at(moment, proxy, answers):
        connections = [connect(proxy.api, tls) for _ in range(CONNECTIONS)]
        begun = time.monotonic()
        answers.update(each(connections, lambda connection: d.issue(connection)[0]))
        rest = time.monotonic()
        time.sleep(begun + moment - STALL - time.monotonic())
        with proxy.stalled():
            asked = threading.Thread(target=lambda: answers.update(each(connections, again)))
            asked.start()
            time.sleep(rest + moment + STALL - time.monotonic())
        asked.join()

    def again(connection):
        try:
            return d.issue(connection)[0]
        except CLOSED:
            # The proxy closed it, as it may: a caller opens another.
            return d.issue(connect((connection.host, connection.port), tls))[0]

    together = [threading.Thread(target=at, args=of) for of in zip(MOMENTS, proxies, came)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    for moment, answers in zip(MOMENTS, came):
        assert answers == {201: 2 * CONNECTIONS}, f"after {moment} s: {dict(answers)}"
    moments = ", ".join(map(str, MOMENTS))
    return f"{CONNECTIONS} POSTs in a stall around each of {moments} s of rest are all 201"


def each(connections, call):
    """What each gave, all at once."""
    with concurrent.futures.ThreadPoolExecutor(len(connections)) as pool:
        return list(pool.map(call, connections))


class Nginx(Process):
    @classmethod
    def http(cls, folder, n, d, certificates):
        cards, api = rotation.free_ports(2)
        pairs = (
            ("127.0.0.1:7420", f"127.0.0.1:{d.client_at}"), ("127.0.0.1:7410", f"127.0.0.1:{d.merchant_at}"),
            ("listen 443 ssl; server_name cards.example;", f"listen 127.0.0.1:{cards} ssl; server_name cards.example;"),
            ("listen 443 ssl; server_name cards-api.example;", f"listen 127.0.0.1:{api} ssl; server_name cards-api.example;"),
        )
        of = f"ssl_certificate {certificates.certificate}; ssl_certificate_key {certificates.key};"
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {folder}/nginx-{kind};" for kind in kinds)
        lines = f"http {{ access_log off; {of} {temporary}\n{with_ours(block('operate/proxies.md', 'upstream cards_api'), *pairs)}}}\n"
        return cls.of(folder, f"nginx-{n}", lines, cards, api)

    @classmethod
    def tcp(cls, folder, d):
        (api,) = rotation.free_ports(1)
        pairs = (("listen 8443;", f"listen 127.0.0.1:{api};"), ("127.0.0.1:7410", f"127.0.0.1:{d.merchant_at}"))
        lines = with_ours(block("operate/proxies.md", "stream {"), *pairs)
        return cls.of(folder, "nginx-tcp", lines, api, api, "load_module /usr/lib/nginx/modules/ngx_stream_module.so;")

    @classmethod
    def of(cls, folder, name, lines, cards, api, module=""):
        settings = folder / f"{name}.conf"
        own = f"daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log stderr; events {{ }}"
        settings.write_text(f"{module} {own}\n{lines}")
        one = cls(["/usr/sbin/nginx", "-c", settings], folder / f"{name}.log", ("127.0.0.1", api))
        one.cards, one.api = ("127.0.0.1", cards), ("127.0.0.1", api)
        return one


class Haproxy(Process):
    """The page shows one listener; the other is the same with the other port."""

    @classmethod
    def http(cls, folder, n, d, certificates):
        cards, api = rotation.free_ports(2)
        lines = block("operate/proxies.md", "http-reuse safe")
        pem = certificates.both(folder / "cards.pem")
        of = lambda port, listener: with_ours(
            lines, ("bind :443", f"bind 127.0.0.1:{port}"), ("/etc/haproxy/cards.pem", pem),
            ("127.0.0.1:7420", f"127.0.0.1:{listener}"), ("port 7430", f"port {d.admin_at}"),
        )
        other = with_ours(of(api, d.merchant_at).partition("frontend")[2], (" cards\n", " api\n"))
        return cls.of(folder, f"haproxy-{n}", of(cards, d.client_at) + "frontend" + other, cards, api)

    @classmethod
    def tcp(cls, folder, d):
        (api,) = rotation.free_ports(1)
        pairs = (
            ("bind :8443", f"bind 127.0.0.1:{api}"), ("127.0.0.1:7410", f"127.0.0.1:{d.merchant_at}"),
            ("port 7430", f"port {d.admin_at}"),
        )
        return cls.of(folder, "haproxy-tcp", with_ours(block("operate/proxies.md", "send-proxy-v2"), *pairs), api, api)

    @classmethod
    def of(cls, folder, name, lines, cards, api):
        settings = folder / f"{name}.cfg"
        settings.write_text(lines)
        one = cls(["/usr/sbin/haproxy", "-db", "-f", settings], folder / f"{name}.log", ("127.0.0.1", api))
        one.cards, one.api = ("127.0.0.1", cards), ("127.0.0.1", api)
        return one
