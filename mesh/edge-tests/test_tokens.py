"""Every bad token is refused at every hop that verifies, and every good one passes."""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import time

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import chain

CORPUS = yaml.safe_load((pathlib.Path(__file__).parent / "data" / "tokens.yaml").read_text())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# A route for everyone with a token, whatever their role.
PATH = "/v1/me"
VERIFYING = ("envoy", "gateway", "public")
BEYOND_ALL_LIMITS = 5000


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Key:
    def __init__(self, private):
        self.private, self.public = private, private.public_key()
        point = self.public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        self.point, self.x, self.y = point, b64(point[1:33]), b64(point[33:])
        thumbprint = f'{{"crv":"P-256","kty":"EC","x":"{self.x}","y":"{self.y}"}}'
        self.kid = b64(hashlib.sha256(thumbprint.encode()).digest())

    def jwk(self):
        return {"kty": "EC", "crv": "P-256", "x": self.x, "y": self.y}

    def sign(self, text):
        der = self.private.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big"), der

    def secret(self, what):
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        return {
            "pem": self.public.public_bytes(serialization.Encoding.PEM, spki),
            "der": self.public.public_bytes(serialization.Encoding.DER, spki),
            "point": self.point, "jwk": json.dumps(self.jwk()).encode(), "x": self.x.encode(),
            "kid": self.kid.encode(), "empty": b"",
        }[what]


@pytest.fixture(scope="session")
def issuer(region):
    """The issuer's own key, out of its own database: only it can make tokens that are good but for one thing."""
    pem = "\n".join(region.query("user_master", "select pem from signing_keys order by signs_from limit 1"))
    return Key(serialization.load_pem_private_key(pem.encode(), None))


@pytest.fixture(scope="session")
def subject(region):
    """Somebody who has an account."""
    return next(person["id"] for person in region.people() if person["role"] == "customer")


def times(value, now):
    match = re.fullmatch(r"now([+-]\d+)?", value) if isinstance(value, str) else None
    return now + int(match[1] or 0) if match else value


def merged(base, changes, now, long):
    whole = base | {name: times(value, now) for name, value in changes.items()}
    whole = {name: long if value == "{long}" else value for name, value in whole.items()}
    return {name: value for name, value in whole.items() if value is not None}


def filled(text, words):
    for name, value in words.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def made(case, issuer, subject, nested=None):
    """The Authorization header of a case."""
    now, long = int(time.time()), "x" * BEYOND_ALL_LIMITS
    who = case.get("key", "issuer")
    key = Key(ec.generate_private_key(ec.SECP256R1())) if who in ("stranger", "embedded") else issuer
    header = {"typ": "at+jwt", "alg": "ES256", "kid": issuer.kid}
    if who == "embedded":
        header["jwk"] = key.jwk()
    payload = {"iss": chain.ISSUER, "aud": chain.AUDIENCE, "sub": subject, "iat": now, "exp": now + 600,
               "role": "customer"}
    words = {"kid": issuer.kid, "iss": chain.ISSUER, "aud": chain.AUDIENCE, "sub": subject, "iat": now,
             "exp": now + 600, "deep": "[" * BEYOND_ALL_LIMITS, "nested": nested}
    header_text = filled(case["header_text"], words) if "header_text" in case else json.dumps(
        merged(header, case.get("header", {}), now, long))
    payload_text = filled(case["payload_text"], words) if "payload_text" in case else json.dumps(
        merged(payload, case.get("payload", {}), now, long))
    payload_bytes = payload_text.encode("utf-16" if "utf16_payload" in case.get("text", ()) else "utf-8")
    text = f"{b64(header_text.encode())}.{b64(payload_bytes)}"
    token = f"{text}.{signature(case, key, who, text)}"
    for step in case.get("text", ()):
        token = mangle(token, step)
    return case.get("scheme", "Bearer ") + token


def signature(case, key, who, text):
    if who == "none":
        return ""
    if who.startswith("hs256:"):
        return b64(hmac.new(key.secret(who.removeprefix("hs256:")), text.encode(), hashlib.sha256).digest())
    raw, der = key.sign(text)
    match case.get("signature", "good"):
        case "good": return b64(raw)
        case "zero": return b64(bytes(64))
        case "order": return b64(ORDER.to_bytes(32, "big") * 2)
        case "ones": return b64(b"\xff" * 64)
        case "empty": return ""
        case "short": return b64(raw[:32])
        case "long": return b64(raw + b"\0")
        case "der": return b64(der)
        case "flipped": return b64(bytes([raw[0] ^ 1]) + raw[1:])
        case "swapped_halves": return b64(raw[32:] + raw[:32])
        case "of_other_text": return b64(key.sign(text + "x")[0])
        case "plain_base64":
            # Signs until the two alphabets differ.
            while not {"-", "_"} & set(b64(raw)):
                raw, _ = key.sign(text)
            return base64.b64encode(raw).rstrip(b"=").decode()
        case other: raise ValueError(other)


def mangle(token, step):
    head, payload, tail = token.split(".", 2)
    match step:
        case "drop_last_dot": return token.rstrip(".")
        case "five_parts": return f"{head}.{payload}.{payload}.{payload}.{tail}"
        case "two_parts": return f"{head}.{payload}"
        case "one_part": return head
        case "only_dots": return ".."
        case "nothing": return ""
        case "no_header": return f".{payload}.{tail}"
        case "no_payload": return f"{head}..{tail}"
        case "twice_with_comma": return f"{token},{token}"
        case "space_within": return f"{head}. {payload}.{tail}"
        case "pad_parts": return ".".join(part + "=" * (-len(part) % 4) for part in (head, payload, tail))
        case "stray_bits":
            # 64 bytes leave four bits of the last letter unused; set one of them.
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            return token[:-1] + letters[letters.index(token[-1]) | 1]
        case "utf16_payload": return token
        case _ if step.startswith("append:"): return token + step.removeprefix("append:")
        case other: raise ValueError(other)


def test_the_corpus_is_as_large_as_it_says():
    names = [case["name"] for case in CORPUS["bad"] + CORPUS["good"]]
    assert len(CORPUS["bad"]) >= 60 and len(set(names)) == len(names)


@pytest.mark.parametrize("hop", VERIFYING)
@pytest.mark.parametrize("case", CORPUS["good"], ids=lambda case: case["name"])
def test_a_good_token_passes(hops, issuer, subject, hop, case):
    answer = hops[hop].get(PATH, authorization=made(case, issuer, subject))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("hop", VERIFYING)
@pytest.mark.parametrize("case", CORPUS["bad"], ids=lambda case: case["name"])
def test_a_bad_token_is_refused(hops, issuer, subject, hop, case):
    nested = made({"name": "inner"}, issuer, subject).removeprefix("Bearer ")
    answer = hops[hop].get(PATH, authorization=made(case, issuer, subject, nested))
    if hop == "envoy":
        # The gateway wears this on every answer: with it, Envoy has let the token pass.
        assert "referrer-policy" not in answer.headers, answer.text
    assert answer.status_code == 401, answer.text
    assert answer.problem in ("token_missing", "token_invalid", "token_expired"), answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")
