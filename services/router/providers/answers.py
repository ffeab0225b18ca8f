"""What all adapters do alike with an answer: the failure in it, the verdict on a key, when to come back."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from services.router.domain.outcome import CODES, PLAIN_CODES, detail_of, outcome_of
from services.router.providers.base import (
    UNTOLD,
    ChatAnswer,
    Failure,
    HttpAnswer,
    Verdict,
    at,
    json_of,
    object_in,
)
from shared.messages.router import TokensV1
from shared.messages.vocabulary import KeyStatus, Outcome

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_LONGEST_WAIT_S = 86_400.0
REFUSED = "refused_by_provider"
Answer = TypeVar("Answer")


def failure_of(answer: HttpAnswer, *codes: str | None, retry_after_s: float | None = None) -> Failure:
    """The failure by the common table. Of ``codes`` the one that says most counts; unknown ones are ignored."""
    code = next((item for known in (CODES, PLAIN_CODES) for item in codes if item in known), None)
    return Failure(
        outcome_of(answer.status, code),
        answer.status,
        detail_of(answer.status, code),
        retry_after_s if retry_after_s is not None else retry_after(answer),
        provider_request_id=request_id(answer),
    )


def decode_by(
    read: Callable[[HttpAnswer, dict[str, Any]], Answer | Failure], fail: Callable[[HttpAnswer], Failure]
) -> Callable[[HttpAnswer], Answer | Failure]:
    """A decoder: ``read`` for the JSON object of a 200, ``fail`` for every other status."""

    def decode(answer: HttpAnswer) -> Answer | Failure:
        if answer.status != 200:
            return fail(answer)
        body = json_of(answer)
        return bad_response(answer, "not_json") if body is None else read(answer, body)

    return decode


def generated(
    answer: HttpAnswer, tokens: TokensV1, *, finish: str | None, text: str | None, model: str | None, id_: object
) -> ChatAnswer | Failure:
    """The generation, when it has a reason to have ended (``finish``) and a ``text``; else a bad response."""
    if finish is None:
        return bad_response(answer, "unfinished", tokens)
    if text is None:
        return bad_response(answer, "no_text", tokens)
    if not _is_unicode(text):
        return bad_response(answer, "not_unicode", tokens)
    return ChatAnswer(text, finish, tokens, model, request_id(answer, id_))


def _is_unicode(text: str) -> bool:
    # JSON can spell half a surrogate pair: a host that cuts an answer between the halves does.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def bad_response(
    answer: HttpAnswer, detail: str, tokens: TokensV1 = UNTOLD, outcome: Outcome = Outcome.BAD_RESPONSE
) -> Failure:
    """A 200 that cannot be used: cut, malformed, without a text, or ended by what ``outcome`` says."""
    return Failure(outcome, answer.status, detail, tokens=tokens, provider_request_id=request_id(answer))


def refused(answer: HttpAnswer, detail: str, tokens: TokensV1) -> Failure:
    """A 200 in which the model or a filter declined. It was generated, so its usage counts."""
    return Failure(Outcome.CONTENT_POLICY, answer.status, detail, tokens=tokens, provider_request_id=request_id(answer))


def request_id(answer: HttpAnswer, fallback: object = None) -> str | None:
    """The provider's own id of the exchange, None when it gives none that is fit for a log."""
    told = (answer.headers.get("x-request-id"), answer.headers.get("request-id"), fallback)
    return next((id_ for value in told if (id_ := fit_id(value)) is not None), None)


def fit_id(value: object) -> str | None:
    """``value`` when it is an id that is fit for a log, else None."""
    return value if isinstance(value, str) and _REQUEST_ID.fullmatch(value) else None


def retry_after(answer: HttpAnswer) -> float | None:
    """Seconds the provider asks to wait, from its headers or its body; None when it does not say."""
    milliseconds = seconds_in(answer.headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = answer.headers.get("retry-after")
    if value is None:
        return _retry_after_in(answer.body)
    return _until(value, answer.headers.get("date")) if value[:1].isalpha() else seconds_in(value)


def _retry_after_in(body: bytes) -> float | None:
    # Replicate says it in the body only, and so do gateways that drop headers.
    told = object_in(body) if b"retry_after" in body else None
    paths = (("retry_after",), ("error", "retry_after"), ("error", "metadata", "retry_after"))
    return next((wait for path in paths if (wait := seconds_in(at(told, *path))) is not None), None)


def seconds_in(value: object) -> float | None:
    """``12``, ``"12"``, ``"0.5"`` or ``"34.4s"`` as seconds within a day; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(min(value, _LONGEST_WAIT_S)) if value >= 0 else None
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?s?", value.strip()):
        return None
    return min(float(value.strip().rstrip("s")), _LONGEST_WAIT_S)


def _until(moment: str, sent_at: str | None) -> float | None:
    # A date is read against the provider's own clock, so that ours need not agree with it.
    if sent_at is None:
        return None
    try:
        later, sooner = parsedate_to_datetime(moment), parsedate_to_datetime(sent_at)
    except ValueError:
        return None
    wait = (later.replace(tzinfo=UTC) - sooner.replace(tzinfo=UTC)).total_seconds()
    return min(max(wait, 0.0), _LONGEST_WAIT_S)


def judge_by(
    fail: Callable[[HttpAnswer], Failure], *, shows: str | None = None, undecided: Mapping[int, str] | None = None
) -> Callable[[HttpAnswer], Verdict]:
    """The verdict on a key: accepted, refused, or no telling (for the reasons given to the statuses ``undecided``).

    ``shows``: what the JSON object of an acceptance holds. A login page that answers everybody with 200 does not.
    """

    def judge(answer: HttpAnswer) -> Verdict:
        body = json_of(answer) if answer.status == 200 else None
        if body is not None and (shows is None or body.get(shows) is not None):
            return KeyStatus.ACTIVE, None
        if undecided and answer.status in undecided:
            return KeyStatus.UNVERIFIED, undecided[answer.status]
        failure = fail(answer)
        # A restricted key may lack the right to list models and still be good for calls.
        if failure.detail == "missing_scope":
            return KeyStatus.UNVERIFIED, "missing_scope"
        if failure.outcome is Outcome.INVALID_KEY:
            return KeyStatus.INVALID, REFUSED
        return KeyStatus.UNVERIFIED, str(failure.outcome)

    return judge


def bearer(key: str) -> dict[str, str]:
    """``Authorization: Bearer``."""
    return {"authorization": f"Bearer {key}"}
