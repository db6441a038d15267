"""What HAProxy and Envoy do by themselves: sizes, slow clients, headers made anew, certificates that change."""

import http.server
import json
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509

import chain

HTTP2 = ("haproxy", "envoy")
# Heads and bodies have 10 s, and a busy machine some more.
SLOW_WITHIN_S = 14


@pytest.mark.parametrize("hop", HTTP2)
def test_oversize_has_the_same_answer_over_http2(hops, envoy, region, haproxy, hop):
    client = {"haproxy": chain.Client(haproxy.port, region.public_ca, http2=True), "envoy": hops["envoy"]}[hop]
    head = client.ask("GET", "/livez", headers={"x-large": "a" * 17_000})
    assert (head.status_code, head.problem, head.json()["limit_bytes"]) == (431, "headers_too_large", 16384)
    body = client.ask("POST", "/v1/sessions", b"a" * 65_537, {"content-type": "application/json"})
    assert (body.status_code, body.problem, body.json()["limit_bytes"]) == (413, "body_too_large", 65536)
    # Without a length that says so beforehand.
    body = client.ask("POST", "/v1/sessions", iter([b"a" * 65_536, b"a"]), {"content-type": "application/json"})
    assert (body.status_code, body.problem, body.json()["limit_bytes"]) == (413, "body_too_large", 65536)


@pytest.mark.parametrize("bytes_sent", [
    b"GET /livez HTTP/1.1\r\nHost: edge\r\n",
    b"POST /v1/sessions HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{",
], ids=["head", "body"])
def test_a_slow_client_is_sent_away(hops, bytes_sent):
    door, began = hops["haproxy"], time.monotonic()
    with chain.connect(door.port, door.tls) as connection:
        connection.sendall(bytes_sent)
        received = b""
        while piece := connection.recv(4096):
            received += piece
    assert time.monotonic() - began < SLOW_WITHIN_S
    assert received.startswith(b"HTTP/1.1 408"), received
    # A head that never ends is none yet, and HAProxy answers on a page of its own.
    assert (b"/problems/body_too_slow" in received) == (b"\r\n\r\n" in bytes_sent), received


class Echo(http.server.BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def echo(region, scratch):
    """HAProxy in front of an ingress that repeats the headers it was sent."""
    certs = region.authority.bundle(scratch / "echo", "ingress")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certs / "ca.crt"))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(certs / "tls.crt", certs / "tls.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    door = chain.Haproxy({"echo": (server.server_port, region.authority)}, scratch / "haproxy-echo", "echo",
                         [("127.0.0.0/8", "DE")]).start()
    client = chain.Client(door.port, region.public_ca, http2=True)
    chain.eventually("the echo answers", lambda: client.get("/readyz").status_code == 200)
    yield client
    door.stop()
    server.shutdown()


def test_what_a_client_must_not_say_is_taken_away_and_made_anew(echo):
    lies = {name: "lie" for name in (
        "forwarded", "x-forwarded-host", "x-forwarded-client-cert", "x-real-ip", "true-client-ip", "client-ip", "cf-connecting-ip",
        "x-envoy-original-path", "x-geo-country", "x-original-url", "x-rewrite-url", "tiffin-caller-subject", "tiffin-caller-role",
        "tiffin-caller-scope", "tiffin-caller-region", "tiffin-peer", "tiffin-region", "tiffin-deadline-ms", "proxy", "cookie")}
    made = {"x-forwarded-for": "10.0.0.1, 10.0.0.2", "x-forwarded-proto": "http", "tiffin-country": "RS"}
    kept = {"authorization": "Bearer x", "tiffin-consistency": "y", "idempotency-key": "z", "last-event-id": "1-2"}
    heard = echo.ask("GET", "/", headers=lies | made | kept).json()
    assert not [pair for pair in heard if pair[1] == "lie"]
    for name, value in {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "tiffin-country": "DE"}.items():
        assert [pair[1] for pair in heard if pair[0] == name] == [value], name
    assert kept.items() <= dict(map(tuple, heard)).items()


def test_a_trace_begins_here_or_is_kept(echo):
    def trace(**headers):
        return [value for name, value in echo.ask("GET", "/", headers=headers).json() if name == "traceparent"]

    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert trace(traceparent=good) == [good]
    for bad in ("", "x", good[:-1], good.upper(), f"{good}-x", "ff" + good[2:]):
        [made] = trace(traceparent=bad)
        version, trace_id, span_id, flags = made.split("-")
        assert (version, len(trace_id), len(span_id), flags) == ("00", 32, 16, "01") and made != bad
    assert trace() != trace()


def test_envoy_shows_a_new_certificate_without_a_restart(region, envoy):
    def serial():
        with socket.create_connection(("127.0.0.1", envoy.port), chain.ANSWER_S) as plain:
            tls = chain.client_tls(region.public_ca, envoy.certs, "h2")
            with tls.wrap_socket(plain, server_hostname="localhost") as connection:
                return x509.load_der_x509_certificate(connection.getpeercert(True)).serial_number

    before = serial()
    fresh = region.authority.bundle(envoy.folder / "fresh", "ingress")
    for name in ("tls.key", "tls.crt"):
        (fresh / name).rename(envoy.certs / name)
    chain.eventually("the new certificate is shown", lambda: serial() != before)
