"""One envelope, one form, one signature."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from synthrelease.errors import IntegrityError
from synthrelease.release.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    check_signature,
    envelope_bytes,
    pae,
    parse_envelope,
    signed,
)


def test_the_encoding_is_that_of_the_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == "DSSEv1 2 é 0 ".encode()
    assert len(PAYLOAD_TYPE) == 28, "the guide's openssl lines write this number"


def test_an_envelope_is_read_back_as_it_was_written(key: Ed25519PrivateKey) -> None:
    envelope = signed(b'{"a":1}', key)
    assert parse_envelope(envelope_bytes(envelope)) == envelope
    check_signature(envelope, key.public_key())


def test_the_same_statement_and_key_give_the_same_envelope(key: Ed25519PrivateKey) -> None:
    assert envelope_bytes(signed(b"x", key)) == envelope_bytes(signed(b"x", key))


def test_type_and_payload_cannot_trade_bytes(key: Ed25519PrivateKey) -> None:
    envelope = signed(b"statement", key)
    with pytest.raises(IntegrityError):
        check_signature(Envelope(b" statement", envelope.key_id, envelope.signature), key.public_key())


def _variants(value: dict[str, Any]) -> dict[str, bytes]:
    def text(**changes: Any) -> bytes:
        return (json.dumps({**value, **changes}, indent=2) + "\n").encode()

    (signature,) = value["signatures"]
    url_safe = base64.urlsafe_b64encode(base64.b64decode(signature["sig"])).decode()
    whole = text()
    return {
        "compact": json.dumps(value).encode(),
        "no end of line": whole[:-1],
        "more after it": whole + b" ",
        "two signatures": text(signatures=[signature, signature]),
        "no signature": text(signatures=[]),
        "an unknown field": text(extra=1),
        "another type": text(payloadType="text/plain"),
        "a payload that is no base64": text(payload="*"),
        "a payload that is no text": text(payload=1),
        "a key that is no text": text(signatures=[{**signature, "keyid": 7}]),
        "a key id that is none": text(signatures=[{**signature, "keyid": "\x1b[2J"}]),
        "base64 with loose bits": text(payload=value["payload"][:-2] + "B="),
        "another alphabet": text(signatures=[{**signature, "sig": url_safe + "_"}]),
        "a key twice": whole.replace(b'{\n  "payload"', b'{\n  "payload": "eA==",\n  "payload"', 1),
        "no object": b"[]",
        "no JSON": b"\xff",
        "deep": b"[" * 100_000,
        "empty": b"",
    }


@pytest.mark.parametrize("what", _variants({"payload": "eA==", "payloadType": "t", "signatures": [{"sig": "eA=="}]}))
def test_an_envelope_in_another_form_is_refused(key: Ed25519PrivateKey, what: str) -> None:
    variants = _variants(json.loads(envelope_bytes(signed(b"statement", key))))
    with pytest.raises(IntegrityError, match="not as synthrelease writes it"):
        parse_envelope(variants[what])
