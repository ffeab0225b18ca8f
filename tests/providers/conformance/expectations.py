"""Stub."""
import hashlib
from tests.providers.conformance.material import Item
from tests.providers.conformance.reference import Reading
EXPECTED: dict[str, Reading] = {}
def key_of(item: Item) -> str:
    return hashlib.sha256(item.answer.body).hexdigest()[:12]
