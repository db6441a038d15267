"""Two regions behind one door: each has its own people and nobody else's, and one may die without the other noticing."""

import signal
import socket
import threading
import time

import pytest

import chain

# Linux takes all of 127.0.0.0/8 for this machine, so that a client can come from several countries.
HOME, AWAY = "127.0.0.1", "127.0.0.2"
# Of a country whose region has no backend.
NOWHERE = "127.0.0.3"
# What people of a dead region wait at most.
HONEST_WITHIN_S = 5
HONEST = [(503, "region_unavailable"), (504, "gateway_timeout"), (504, "no_answer")]


@pytest.fixture(scope="module")
def ingresses(region, other_region, scratch):
    both = {"home": chain.Envoy(region, scratch / "envoy-home"), "away": chain.Envoy(other_region, scratch / "envoy-away")}
    for envoy in both.values():
        envoy.start()
    yield both
    for envoy in both.values():
        envoy.stop()


@pytest.fixture(scope="module")
def door(region, other_region, ingresses, scratch):
    authorities = {"home": region.authority, "away": other_region.authority}
    door = chain.Haproxy({name: (envoy.port, authorities[name]) for name, envoy in ingresses.items()},
                         scratch / "haproxy-both", "home", [(f"{AWAY}/32", "RS"), ("127.0.0.0/8", "DE"), (f"{NOWHERE}/32", "AQ")],
                         [("DE", "home"), ("RS", "away"), ("AQ", "nowhere")]).start()
    for address in (HOME, AWAY):
        chain.eventually("the region is up", lambda: client(region, door, address).get("/readyz").status_code == 200)
    yield door
    door.stop()


def client(region, door, address):
    return chain.Client(door.port, region.public_ca, http2=True, address=address)


def log_in(of, region, door, address, **headers):
    person = next(person for person in of.people() if person["role"] == "customer")
    return client(region, door, address).ask(
        "POST", "/v1/sessions", {"email": person["email"], "password": person["password"]}, headers)


def cookie_of(answer):
    return answer.headers["set-cookie"].split(";")[0]


def test_the_address_decides_for_a_stranger(region, door):
    assert client(region, door, HOME).get("/livez").headers["tiffin-region"] == "home"
    assert client(region, door, AWAY).get("/livez").headers["tiffin-region"] == "away"


def test_a_region_that_is_nowhere_is_no_reason_to_ask_another_one(region, door):
    answer = client(region, door, NOWHERE).get("/livez")
    assert (answer.status_code, answer.problem) == (503, "region_unavailable")


def test_whoever_was_let_in_once_is_at_home_everywhere(region, door):
    answer = log_in(region, region, door, HOME)
    assert answer.status_code == 200 and {"Secure", "HttpOnly"} <= set(answer.headers["set-cookie"].split("; "))
    travelling = client(region, door, AWAY).get("/v1/me", cookie=cookie_of(answer),
                                                authorization=f"Bearer {answer.json()['access_token']}")
    assert (travelling.status_code, travelling.headers["tiffin-region"]) == (200, "home")


def test_nobody_who_was_refused_is_given_a_home(region, other_region, door):
    answer = log_in(other_region, region, door, HOME)
    assert answer.status_code == 401 and "set-cookie" not in answer.headers


def test_a_home_that_we_did_not_name_counts_for_nothing(region, door):
    good = cookie_of(log_in(region, region, door, HOME))
    seal = good.split(".")[1]
    flipped = ("0" if seal[0] != "0" else "1") + seal[1:]
    for forged in ("home", "home.", f"home.{flipped}", f"home.{seal[:-1]}", f"home.{seal}x", "home." + "0" * 64, f"away.{seal}"):
        answer = client(region, door, AWAY).get("/livez", cookie=f"__Host-tiffin-region={forged}")
        assert answer.headers["tiffin-region"] == "away", forged


@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip", "tiffin-country",
                                    "tiffin-region", "cf-connecting-ip", "x-geo-country", "x-original-url", "x-envoy-external-address"])
def test_nobody_says_where_they_come_from(region, door, header):
    for value in (HOME, "home", "DE", f"for={HOME}"):
        answer = client(region, door, AWAY).ask("GET", "/livez", headers={header: value})
        assert answer.headers["tiffin-region"] == "away"


def test_a_token_of_one_region_is_none_in_the_other(region, other_region, door):
    token = log_in(region, region, door, HOME).json()["access_token"]
    answer = client(region, door, AWAY).get("/v1/me", authorization=f"Bearer {token}")
    assert (answer.status_code, answer.problem) == (401, "token_invalid")


def test_an_account_of_one_region_is_none_in_the_other(region, other_region, door):
    wish = {"email": "both@example.org", "password": "correct horse battery", "name": "Both"}
    for address in (HOME, AWAY):
        answer = client(region, door, address).ask("POST", "/v1/users", wish, {"idempotency-key": "the-same"})
        assert answer.status_code == 201, answer.text
    numbers = [of.query("user_master", "select count(*) from people where email = 'both@example.org'")
               for of in (region, other_region)]
    assert numbers == [["1"], ["1"]]


@pytest.mark.parametrize("way", ["stopped", "silent"])
def test_a_dead_region_says_so_in_time_and_the_other_notices_nothing(region, ingresses, door, way):
    home, away = client(region, door, HOME), client(region, door, AWAY)
    bad, over = [], threading.Event()

    def watch():
        while not over.wait(0.02):
            answer = away.get("/readyz")
            if answer.status_code != 200:
                bad.append(answer.text)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        if way == "stopped":
            ingresses["home"].stop()
        else:
            ingresses["home"].process.send_signal(signal.SIGSTOP)
        slowest_s = 0
        for _ in range(5):
            began = time.monotonic()
            answer = home.get("/readyz")
            slowest_s = max(slowest_s, time.monotonic() - began)
            # Who was waiting when it fell silent is told that it took too long; everyone later, that it is not there.
            assert (answer.status_code, answer.problem) in HONEST, answer.text
        assert slowest_s < HONEST_WITHIN_S
        assert answer.status_code == 503
    finally:
        over.set()
        watching.join()
        if way == "stopped":
            ingresses["home"].start()
        else:
            ingresses["home"].process.send_signal(signal.SIGCONT)
    assert not bad, bad[0]
    chain.eventually("it is back", lambda: home.get("/readyz").status_code == 200)


@pytest.mark.parametrize("http2", [False, True])
def test_who_cannot_connect_is_told_so(scratch, http2):
    """An ingress that takes connections and never says a word, which HAProxy has not noticed yet."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        door = chain.Haproxy({"deaf": (deaf.getsockname()[1], chain.Authority.new())}, scratch / f"haproxy-deaf-{http2}", "deaf").start()
        try:
            began = time.monotonic()
            answer = chain.Client(door.port, door.ca, http2=http2).get("/readyz")
            assert (answer.status_code, answer.problem, answer.headers["retry-after"]) == (503, "region_unavailable", "1")
            # Otherwise this would not be about waiting for a connection.
            assert 0.5 < time.monotonic() - began < HONEST_WITHIN_S
        finally:
            door.stop()
