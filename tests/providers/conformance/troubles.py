"""What an error answer means, told from its status and words by rules that share nothing with ``domain/outcome.py``."""

from shared.messages.vocabulary import Outcome

_WORDS: tuple[tuple[Outcome, tuple[str, ...]], ...] = (
    (Outcome.CONTEXT_LENGTH_EXCEEDED, (
        "context_length_exceeded", "maximum context length", "context window", "prompt is too long",
        "exceed context limit", "maximum number of tokens", "too many tokens", '"1261"',
    )),
    (Outcome.QUOTA_EXHAUSTED, (
        "insufficient_quota", "billing_error", "billing_hard_limit", "billing_not_active", "credit balance", '"1113"',
    )),
    (Outcome.INVALID_KEY, ("api_key_invalid", "invalid_api_key", '"1000"', '"1001"', '"1002"', '"1003"', '"1004"')),
    (Outcome.CONTENT_POLICY, (
        "content_policy", "moderation_blocked", "content_filter", "responsibleaipolicyviolation", '"1301"',
    )),
    # The model wrote a call that does not fit: another try or another model may do better.
    (Outcome.BAD_RESPONSE, ("tool_use_failed",)),
    # Nothing the caller did, however the status reads.
    (Outcome.PROVIDER_ERROR, ("service tier capacity exceeded",)),
)  # fmt: skip
_STATUSES = {
    401: Outcome.INVALID_KEY,
    402: Outcome.QUOTA_EXHAUSTED,
    403: Outcome.INVALID_KEY,
    408: Outcome.TIMEOUT,
    429: Outcome.RATE_LIMITED,
    504: Outcome.TIMEOUT,
    524: Outcome.TIMEOUT,
}


def trouble_in(provider: str, status: int, body: bytes) -> Outcome:
    """The outcome of an answer with an error ``status``."""
    said = body.decode(errors="replace").lower()
    if provider == "google" and status == 429:
        return Outcome.QUOTA_EXHAUSTED if "perday" in said else Outcome.RATE_LIMITED
    for outcome, words in _WORDS:
        if status < 500 and any(word in said for word in words):
            return outcome
    if status in _STATUSES:
        return _STATUSES[status]
    return Outcome.PROVIDER_ERROR if status >= 500 else Outcome.INVALID_REQUEST
