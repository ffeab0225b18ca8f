"""What the shared recordings amount to, noted by hand.

A row is found by the SHA-256 of the recorded answer's body, so that it holds whatever its file is named. The notes were
taken from a first reading of each body and then compared with its own counts, finish reason and words, one by one.
"""

import hashlib

from tests.providers.conformance import expected_anthropic_google, expected_openai, expected_others
from tests.providers.conformance.material import Item
from tests.providers.conformance.reference import Expectation

EXPECTED: dict[str, Expectation] = (
    expected_anthropic_google.EXPECTED | expected_openai.EXPECTED | expected_others.EXPECTED
)


def key_of(item: Item) -> str:
    """The first twelve digits of the digest of the item's answer."""
    return hashlib.sha256(item.answer.body).hexdigest()[:12]
