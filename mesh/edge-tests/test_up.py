"""`tiffin up --edge`: the whole chain with one command, with one region or two, and nothing of it left behind."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import types

import httpx
import pytest

import chain
import conftest
import people
from test_regions import HONEST, HONEST_WITHIN_S

# Where people come from, as `tiffin up` says it.
EU, RS = "127.0.0.1", "127.0.0.2"


def test_the_chain_comes_up_is_kept_up_and_goes(scratch):
    folder = scratch / "up"
    process = conftest.start_platform(folder, "--edge")
    try:
        region = chain.Region(folder)
        client = chain.Client(region.port("haproxy"), region.public_ca, http2=True)
        assert client.get("/readyz").headers["tiffin-region"] == "local"
        assert client.get("/v1/me").problem == "token_missing"
        was = region.process("envoy")["pid"]
        os.kill(was, signal.SIGKILL)
        chain.eventually("Envoy is started again", lambda: region.process("envoy")["pid"] != was)
        chain.eventually("people come in again", lambda: client.get("/readyz").status_code == 200)
    finally:
        conftest.stop_platform(process)
    assert left(folder) == []


@pytest.fixture(scope="module")
def up(scratch):
    """Two regions and the door in front of both."""
    folder = scratch / "regions"
    process = conftest.start_platform(folder, "--edge", "--regions", "eu,rs")
    port = next(one["address"] for one in chain.Region(folder).processes() if one["name"] == "haproxy").rsplit(":", 1)[1]
    yield types.SimpleNamespace(port=int(port), ca=folder / "certs" / "haproxy" / "ca.crt",
                                eu=chain.Region(folder / "regions" / "eu"), rs=chain.Region(folder / "regions" / "rs"))
    conftest.stop_platform(process)
    assert left(folder) == []


def client(up, address, http2=True):
    return chain.Client(up.port, up.ca, http2=http2, address=address)


@contextlib.contextmanager
def steady(up, address):
    """Somebody who asks all the time, over new connections and trusting what is to be trusted now, and must always be
    answered."""
    bad, over = [], threading.Event()

    def ask():
        # httpx gives up what it has asked for when HTTP/2 announces the end of a connection, though it is still answered.
        while not over.wait(0.05):
            try:
                answer = client(up, address, http2=False).get("/v1/menu?country=DE")
                if answer.status_code != 401:
                    bad.append(answer.text)
            except (httpx.HTTPError, OSError) as err:
                bad.append(repr(err))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert not bad, bad[0]


def test_an_order_completes_in_its_region_under_one_trace_and_the_other_has_never_heard_of_it(up):
    customer = people.Person(up.eu, up, "customer")
    order = customer.place()
    people.complete(up.eu, up, customer, order)
    people.is_under_one_trace(up.eu, customer, order)
    assert up.eu.query("order_master", "select count(distinct stream_id) from events") == ["1"]
    assert up.rs.query("order_master", "select count(*) from events") == ["0"]
    assert client(up, EU).get("/livez").headers["tiffin-region"] == "eu"
    assert client(up, RS).get("/livez").headers["tiffin-region"] == "rs"
    # Neither the person nor the order is known there.
    assert client(up, RS).get("/v1/orders", **customer.headers).problem == "token_invalid"
    stranger = people.Person(up.rs, up, "customer", address=RS)
    answer = stranger.client.get(f"/v1/orders/{order}", authorization=stranger.headers["authorization"])
    assert (answer.status_code, answer.problem) == (404, "not_found")


def test_a_new_authority_of_one_region_is_noticed_by_nobody(up):
    before = (up.eu.data_dir / "certs" / "ingress" / "ca.crt").read_text()
    with steady(up, EU), steady(up, RS):
        subprocess.run([conftest.binary(), "certs", "rotate", "--authority", "--data-dir", up.eu.data_dir], check=True,
                       stdout=subprocess.DEVNULL)
        # Checked with new connections, so HAProxy and Envoy have taken each other's new certificates.
        time.sleep(3)
    after = (up.eu.data_dir / "certs" / "ingress" / "ca.crt").read_text()
    assert after != before and after.count("BEGIN CERTIFICATE") == 1


def test_a_new_public_authority_is_noticed_by_nobody_who_is_given_it(up):
    folder = up.ca.parents[2]
    before, regions = up.ca.read_text(), (up.eu.data_dir / "certs" / "haproxy" / "ca.crt").read_text()
    with steady(up, EU), steady(up, RS):
        subprocess.run([conftest.binary(), "certs", "rotate", "--authority", "--data-dir", folder], check=True,
                       stdout=subprocess.DEVNULL)
    after = up.ca.read_text()
    assert after != before and after.count("BEGIN CERTIFICATE") == 1
    # The regions keep theirs.
    assert (up.eu.data_dir / "certs" / "haproxy" / "ca.crt").read_text() == regions
    old = folder / "old.crt"
    old.write_text(before)
    with pytest.raises(httpx.ConnectError):
        chain.Client(up.port, old).get("/livez")


def test_a_frozen_ingress_is_owned_up_to_in_time_and_the_other_region_notices_nothing(up):
    customer = people.Person(up.eu, up, "customer")
    wish, key = customer.wish(), {"idempotency-key": "asked-twice"}
    asked = {
        "an order": ("POST", "/v1/orders", wish, customer.headers | key),
        "a log-in": ("POST", "/v1/sessions", customer.login, {}),
        "a look": ("GET", "/v1/orders", None, customer.headers),
    }
    took, answers = {}, {}

    def ask(what):
        method, path, body, headers = asked[what]
        with customer.client.fresh() as door:
            # Over a connection that has been good until now, and so is HAProxy's to the ingress.
            assert door.get("/livez").status_code == 200
            warm.wait()
            frozen.wait()
            began = time.monotonic()
            answer = door.request(method, path, headers=headers, json=body)
            took[what] = time.monotonic() - began
            answers[what] = (answer.status_code, chain.problem(answer.headers, answer.content)), answer.json().get("detail")

    warm, frozen = threading.Barrier(len(asked) + 1), threading.Event()
    asking = [threading.Thread(target=ask, args=[what]) for what in asked]
    envoy = up.eu.process("envoy")["pid"]
    with steady(up, RS):
        for one in asking:
            one.start()
        warm.wait()
        os.kill(envoy, signal.SIGSTOP)
        try:
            frozen.set()
            for one in asking:
                one.join()
            later = client(up, EU).get("/livez")
        finally:
            os.kill(envoy, signal.SIGCONT)
    print({what: f"{seconds:.1f} s, {answers[what]}" for what, seconds in took.items()})
    assert set(answers) == set(asked)
    assert all(kind in HONEST for kind, _ in answers.values()), answers
    assert max(took.values()) < HONEST_WITHIN_S, took
    assert "Idempotency-Key" in answers["an order"][1] or answers["an order"][0][0] == 503
    assert (later.status_code, later.problem) == (503, "region_unavailable")
    chain.eventually("the region is back", lambda: client(up, EU).get("/livez").status_code == 200)
    # Whatever became of the first one, there is one order.
    again = customer.client.ask("POST", "/v1/orders", wish, customer.headers | key)
    assert again.status_code == 201, again.text
    orders = up.eu.query("order_master", f"select count(*) from events where type = 'order.created' and stream_id = '{again.json()['id']}'")
    assert orders == ["1"]


def left(folder):
    """Processes of a platform."""
    return [pid for pid in pathlib.Path("/proc").iterdir() if re.fullmatch(r"\d+", pid.name) and names(pid, folder)]


def names(pid, folder):
    """Whether a process is one of that platform."""
    try:
        return any(str(folder).encode() in (pid / file).read_bytes() for file in ("cmdline", "environ"))
    except OSError:
        return False
