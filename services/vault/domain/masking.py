"""The one form in which a stored key is ever shown."""

_SHORT = 16
_PREFIX_CHARS = 8


def mask(secret: str) -> str:
    """``sk-proj-…cdef``: the vendor's prefix and the last four characters, at most a third of the key in total.

    The prefix ends at a ``-`` within the first 8 characters. A key of fewer than 16 characters shows only its last two.
    """
    budget = len(secret) // 3
    if len(secret) < _SHORT:
        tail = min(2, budget)
        return "…" + secret[len(secret) - tail :]
    tail = min(4, budget)
    return _prefix(secret, budget - tail) + "…" + secret[-tail:]


def _prefix(secret: str, budget: int) -> str:
    end = secret.rfind("-", 0, min(_PREFIX_CHARS, budget)) + 1
    return secret[:end]
