"""Bytes that two readers might cut into messages differently: every hop finds the same number in them, or refuses."""

import concurrent.futures
import json
import pathlib
import re
import socket
import ssl

import pytest
import yaml

import chain

FAMILIES = yaml.safe_load((pathlib.Path(__file__).parent / "data" / "requests.yaml").read_text())
# Envoy takes HTTP/2 only.
HOPS = ("haproxy", "gateway", "public")
# What says that the bytes were no request at all; everything else is an answer to one.
REFUSALS = {400, 403, 408, 411, 413, 414, 417, 422, 426, 431, 501, 505}
# What the services say about requests that arrived whole.
UNDERSTOOD = ("malformed_json", "invalid")
GET = "GET /livez HTTP/1.1\r\nHost: edge\r\n"
POST = "POST /v1/sessions HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n"
LAST = f"{GET}Connection: close\r\n\r\n"
# Whoever waits longer takes the bytes for the beginning of something; heads and bodies have 10 s.
SILENCE_S = 14
AT_ONCE = 24


def filled(text):
    repeated = {"a": lambda n: "a" * n, "short": lambda n: "".join(f"X-{i}: y\r\n" for i in range(n)),
                "lines": lambda n: "".join(f"X-{i}: {'a' * 1000}\r\n" for i in range(n))}
    text = text.replace("{get}", GET).replace("{post}", POST).replace("{ok}", f"{GET}\r\n")
    text = re.sub(r"\{(a|short|lines)\*(\d+)\}", lambda found: repeated[found[1]](int(found[2])), text)
    return text.replace("{{", "{").replace("}}", "}")


def cases():
    for family in FAMILIES:
        for number, piece in enumerate(family.get("each", [""]), 1):
            text = filled(family["send"].replace("{each}", piece))
            # Characters up to 255 are bytes; what lies beyond is UTF-8 on the wire.
            raw = b"".join(char.encode("latin-1" if ord(char) < 256 else "utf-8") for char in text)
            yield pytest.param(family, raw, id=f"{family['name']} {number}")


CASES = list(cases())


def ask(client, raw):
    """As `talk`, once the region is there: on a busy machine a health check may come late."""
    def answered():
        answers, ended = talk(client, raw)
        is_away = any(chain.problem(headers, body) == "region_unavailable" for _, headers, body in answers)
        return None if is_away else (answers, ended)

    return chain.eventually("the region is up", answered)


def talk(client, raw):
    """All answers to some bytes: (status, headers, body) each, and whether the connection ended."""
    heads_of = ["HEAD" if part.startswith("HEAD") else "" for part in raw.decode("latin-1").split("\r\n\r\n")]
    answers, received = [], b""
    with chain.connect(client.port, client.tls, SILENCE_S) as connection:
        try:
            connection.sendall(raw + LAST.encode())
        except OSError:
            pass  # Refused before it was read; the refusal may still be there.
        while True:
            try:
                piece = connection.recv(65536)
            except (ConnectionError, ssl.SSLError):
                piece = b""
            except socket.timeout:
                return read(received, heads_of), False
            if not piece:
                return read(received, heads_of), True
            received += piece


def read(received, heads_of):
    """The answers in the bytes that came back."""
    answers = []
    while b"\r\n\r\n" in received:
        head, received = received.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        if status == 100:
            continue
        length = int(headers.get("content-length", 0))
        # The only requests here whose answers promise a body and have none.
        if len(answers) < len(heads_of) and heads_of[len(answers)] == "HEAD":
            length = 0
        answers.append((status, headers, received[:length]))
        received = received[length:]
    return answers


def outcome(answers):
    """How many were answered before a refusal, and whether there was one."""
    answered = 0
    for status, headers, body in answers:
        if status in REFUSALS and chain.problem(headers, body) not in UNDERSTOOD:
            return answered, True
        answered += 1
    return answered, False


def test_the_corpus_is_as_large_as_it_says():
    assert len(CASES) >= 200 and len({case.id for case in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def told(hops):
    """What every hop answers to everything, asked side by side: some only end by a time-out."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        asked = {(hop, case.id): pool.submit(ask, hops[hop], case.values[1]) for case in CASES for hop in HOPS}
    return {which: answer.result() for which, answer in asked.items()}


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize(("family", "name"), [pytest.param(case.values[0], case.id, id=case.id) for case in CASES])
def test_all_hops_find_the_same_messages(told, hop, family, name):
    answers, ended = told[hop, name]
    shown = [(status, body[:200]) for status, _, body in answers]
    assert ended, f"waits for more: {shown}"
    if "problem" in family:
        check_problem(family["problem"], answers)
        return
    found, refused = outcome(answers)
    number = int(name.rsplit(" ", 1)[1])
    if "answers" in family:
        assert (found, refused) == (family["answers"] + 1, False), shown
    elif hop == "haproxy" and number in family.get("haproxy", {}):
        assert found in listed(family["haproxy"][number]), shown
    else:
        assert found == family["refused"], shown


def listed(found):
    return found if isinstance(found, list) else [found]


def check_problem(expected, answers):
    status, headers, body = answers[0]
    assert (status, chain.problem(headers, body)) == tuple(expected), answers
    assert json.loads(body)["limit_bytes"] in (16384, 65536)
