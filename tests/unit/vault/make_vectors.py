"""Made ``vectors.json`` with the standard library's HMAC in place of the product's HKDF, as a second opinion.

python -m tests.unit.vault.make_vectors > tests/unit/vault/vectors.json
"""

import hashlib
import hmac
import json
import random
import sys
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def prefixed(*parts: str | bytes | int) -> bytes:
    raws = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"".join(len(raw).to_bytes(4, "big") + raw for raw in raws)


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    extracted = hmac.digest(salt, key, hashlib.sha256)
    out = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes((number,)), hashlib.sha256)
        out += block
    return out[:length]


def envelope(layer: int, key: bytes, plaintext: bytes, associated: bytes, salt: bytes) -> bytes:
    out = hkdf(key, salt, prefixed("omnipost envelope v1", layer, associated), 76)
    return bytes((1, layer)) + salt + out[44:] + AESGCM(out[:32]).encrypt(out[32:44], plaintext, associated)


def dek_vector(rng: random.Random, workspace_id: int) -> dict[str, Any]:
    kek, dek, salt = rng.randbytes(32), rng.randbytes(32), rng.randbytes(32)
    dek_id, kek_id = str(UUID(bytes=rng.randbytes(16))), f"local:{rng.randbytes(8).hex()}"
    associated = prefixed("omnipost dek", 1, workspace_id, dek_id, kek_id)
    return {
        "workspace_id": workspace_id, "dek_id": dek_id, "kek_id": kek_id, "kek": kek.hex(), "dek": dek.hex(),
        "salt": salt.hex(), "wrapped": envelope(1, kek, dek, associated, salt).hex(),
    }  # fmt: skip


def key_vector(rng: random.Random, workspace_id: int, version: int, host: str) -> dict[str, Any]:
    dek, salt = rng.randbytes(32), rng.randbytes(32)
    key_id, dek_id = str(UUID(bytes=rng.randbytes(16))), str(UUID(bytes=rng.randbytes(16)))
    secret = f"sk-vector-{rng.randbytes(12 * version).hex()}"
    associated = prefixed("omnipost key", 1, workspace_id, key_id, version, "openai", host, dek_id)
    return {
        "workspace_id": workspace_id, "key_id": key_id, "version": version, "provider": "openai", "host": host,
        "dek_id": dek_id, "dek": dek.hex(), "salt": salt.hex(), "secret": secret,
        "ciphertext": envelope(2, dek, secret.encode(), associated, salt).hex(),
    }  # fmt: skip


def main() -> None:
    rng = random.Random(1)  # noqa: S311 - vectors can be made again
    vectors = {
        "deks": [dek_vector(rng, number) for number in (1, 2**63 - 1)],
        "keys": [key_vector(rng, 1, 1, "api.openai.com"), key_vector(rng, 2**63 - 1, 7, "localhost:8443")],
    }
    json.dump(vectors, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
