"""A DSSE envelope: a statement with one Ed25519 signature over it, as one JSON file.

    PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body        # LEN in bytes, ASCII decimal
    signature       = Ed25519(private key, PAE(payloadType, payload))

The file has one form, byte for byte: a field a line, so that `sed` and `openssl` can take it apart, and an envelope in
another form is refused, so that no byte of it is loose.

Source: Dead Simple Signing Envelope 1.0, protocol.md and envelope.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from synthrelease.errors import IntegrityError
from synthrelease.release.bag import ASK_AGAIN
from synthrelease.release.keys import key_id

ENVELOPE = "release.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
LARGEST = 1 << 20


@dataclass(frozen=True)
class Envelope:
    """What release.dsse.json holds.

    Attributes:
        payload: The statement's bytes; these are what was signed.
        key_id: Which key is said to have signed. A hint: only :func:`check_signature` proves it.
        signature: 64 bytes.
    """

    payload: bytes
    key_id: str
    signature: bytes


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: what is signed in the place of type and payload.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    name = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def signed(payload: bytes, key: Ed25519PrivateKey) -> Envelope:
    """``payload`` signed with ``key``; the same two give the same envelope."""
    return Envelope(payload, key_id(key.public_key()), key.sign(pae(PAYLOAD_TYPE, payload)))


def check_signature(envelope: Envelope, key: Ed25519PublicKey) -> None:
    """Let only an envelope go on that this very key signed.

    Raises:
        IntegrityError: Another key signed, or the statement or the signature was changed.
    """
    wanted = key_id(key)
    if envelope.key_id != wanted:
        raise IntegrityError(
            f"the pack is signed by the key {envelope.key_id}, not by the one you gave, {wanted}",
            fix="Check that the key is the sender's; if it is, do not use this copy.",
        )
    try:
        key.verify(envelope.signature, pae(PAYLOAD_TYPE, envelope.payload))
    except InvalidSignature as error:
        raise IntegrityError(
            f"the signature in {ENVELOPE} does not hold: the statement or the signature was changed", fix=ASK_AGAIN
        ) from error


def envelope_bytes(envelope: Envelope) -> bytes:
    """The one byte string of an envelope."""
    value = {
        "payload": base64.b64encode(envelope.payload).decode("ascii"),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": envelope.key_id, "sig": base64.b64encode(envelope.signature).decode("ascii")}],
    }
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


def parse_envelope(content: bytes) -> Envelope:
    """The inverse of :func:`envelope_bytes`.

    Raises:
        IntegrityError: It is not an envelope, holds another number of signatures than one, or has another form.
    """
    broken = IntegrityError(f"{ENVELOPE} is not as synthrelease writes it", fix=ASK_AGAIN)
    try:
        value = json.loads(content)
        (signature,) = value["signatures"]
        envelope = Envelope(
            payload=base64.b64decode(value["payload"], validate=True),
            key_id=signature["keyid"],
            signature=base64.b64decode(signature["sig"], validate=True),
        )
        same = re.fullmatch("[0-9a-f]{64}", envelope.key_id) is not None and envelope_bytes(envelope) == content
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise broken from error
    if not same:
        raise broken
    return envelope
