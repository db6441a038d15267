"""Nobody but a peer with its own good certificate comes in at an internal port."""

import pathlib
import socket

import httpx
import pytest
import yaml

import chain

DATA = yaml.safe_load((pathlib.Path(__file__).parent / "data" / "peers.yaml").read_text())


def port(region, envoy, door):
    return envoy.port if door == "envoy" else region.port(door)


def ask(region, envoy, door, certs):
    what = DATA["doors"][door]
    client = chain.Client(port(region, envoy, door), region.public_ca, certs, what.get("http2", False))
    return client.ask(what.get("method", "POST"), what["path"], b"" if what.get("method") is None else None)


def filled(names, service):
    return [name.replace("{id}", chain.TRUST + service).replace("{service}", service) for name in names]


def shown(region, folder, peer, service):
    """The bundle that a bad peer shows."""
    authority = region.authority
    if peer.get("authority") in ("stranger", "itself"):
        authority = chain.Authority.new()
    if peer.get("authority") == "peer":
        authority = chain.Authority(*region.authority.issue([chain.TRUST + service], cn=service))
    arguments = {name: peer[name] for name in ("valid_from_h", "valid_until_h", "is_ca", "usages") if name in peer}
    certificate, key = authority.issue(
        filled(peer.get("uris", ["{id}"]), service), filled(peer.get("dns", []), service), cn=service, **arguments)
    if peer.get("authority") == "itself":
        certificate, key = authority.certificate, authority.key
    return chain.write_bundle(folder, certificate, key, region.authority.certificate)


def test_there_are_at_least_twelve_bad_peers():
    assert len({peer["name"] for peer in DATA["bad"]}) >= 12


@pytest.mark.parametrize("door", DATA["doors"])
def test_the_right_peer_comes_in(region, envoy, tmp_path, door):
    certs = region.authority.bundle(tmp_path, DATA["doors"][door]["friend"])
    answer = ask(region, envoy, door, certs)
    assert answer.problem != "peer_not_allowed", answer.text


def test_every_service_has_its_row(region):
    listening = {process["name"] for process in region.processes() if process.get("admin")}
    assert listening | {"envoy"} == set(DATA["doors"])


@pytest.mark.parametrize("door", DATA["doors"])
@pytest.mark.parametrize("peer", DATA["bad"], ids=lambda peer: peer["name"])
def test_a_bad_peer_is_refused(region, envoy, tmp_path, door, peer):
    if peer.get("shows") == "plaintext":
        assert b"HTTP" not in plaintext(port(region, envoy, door))
        return
    certs = None if peer.get("shows") == "nothing" else shown(region, tmp_path, peer, DATA["doors"][door]["friend"])
    try:
        answer = ask(region, envoy, door, certs)
    except (httpx.TransportError, OSError):
        answer = None  # In the handshake, on their side or on ours; nothing was asked.
    if door in peer.get("passes", ()):
        assert answer and answer.is_success, "it is refused after all; then it needs no exception"
    elif answer:
        assert (answer.status_code, answer.problem) == (403, "peer_not_allowed"), answer.text


def plaintext(to):
    """All that comes back to a request without TLS."""
    received = b""
    with socket.create_connection(("127.0.0.1", to), chain.ANSWER_S) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            while piece := connection.recv(4096):
                received += piece
        except ConnectionError:
            pass
    return received
