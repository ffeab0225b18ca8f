"""What the shared recordings amount to, noted by hand.

A row is found by the SHA-256 of the recorded answer's body, so that it holds whatever its file is named. The notes were
drafted with the reference reader; the counts, finish reason or outcome of each were then reviewed beside the raw body.
From then on they hold both readers to it.
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
