"""AES-256-GCM, and nothing of the service: bytes and keys in, bytes out.

A sealed value is `version (1) · key id (16) · nonce (12) · ciphertext · tag (16)`. Version, key id and context (table,
column, row, study) are associated data: a value copied to another row, column or study does not open there.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"\x01"
NONCE_BYTES = 12
KEY_BYTES = 32
_HEAD = len(VERSION) + 16


class CannotOpen(Exception):
    """The key is another one, or the value was altered or moved."""


def new_key() -> bytes:
    return AESGCM.generate_key(bit_length=8 * KEY_BYTES)


def seal(plain: bytes, *, key: bytes, key_id: UUID, context: str) -> bytes:
    head, nonce = VERSION + key_id.bytes, os.urandom(NONCE_BYTES)
    return head + nonce + AESGCM(key).encrypt(nonce, plain, head + context.encode())


def unseal(sealed: bytes, *, key: bytes, context: str) -> bytes:
    """Raises CannotOpen for a wrong key, another context, or a value that was altered or cut."""
    head, nonce, rest = sealed[:_HEAD], sealed[_HEAD : _HEAD + NONCE_BYTES], sealed[_HEAD + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, rest, head + context.encode())
    except (InvalidTag, ValueError) as error:
        raise CannotOpen(context) from error


def key_id_of(sealed: bytes) -> UUID:
    """Which key a sealed value needs."""
    if sealed[:1] != VERSION or len(sealed) < _HEAD:
        raise CannotOpen("this is no sealed value")
    return UUID(bytes=sealed[1:_HEAD])


def derived(key: bytes, purpose: str) -> bytes:
    """A key for one purpose, so that what seals never also signs (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)


def keyed_digest(content: bytes, *, key: bytes) -> str:
    """HMAC-SHA256 in hex: an answer from 0 to 100 is easily guessed from a plain digest."""
    return hmac.digest(key, content, hashlib.sha256).hex()
