"""What all adapters do alike with an answer: the failure in it, the verdict on a key, when to come back."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from services.router.domain.outcome import CODES, PLAIN_CODES, detail_of, outcome_of
from services.router.providers.base import UNTOLD, ChatAnswer, Failure, HttpAnswer, Verdict, json_of
from shared.messages.router import TokensV1
from shared.messages.vocabulary import KeyStatus, Outcome

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_LONGEST_WAIT_S = 86_400.0
REFUSED = "refused_by_provider"


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
    read: Callable[[HttpAnswer, dict[str, Any]], ChatAnswer | Failure], fail: Callable[[HttpAnswer], Failure]
) -> Callable[[HttpAnswer], ChatAnswer | Failure]:
    """A decoder: ``read`` for the JSON object of a 200, ``fail`` for every other status."""

    def decode(answer: HttpAnswer) -> ChatAnswer | Failure:
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


def bad_response(answer: HttpAnswer, detail: str, tokens: TokensV1 = UNTOLD) -> Failure:
    """A 200 that cannot be used: cut, malformed, or without a text."""
    return Failure(Outcome.BAD_RESPONSE, answer.status, detail, tokens=tokens, provider_request_id=request_id(answer))


def refused(answer: HttpAnswer, detail: str, tokens: TokensV1) -> Failure:
    """A 200 in which the model or a filter declined. It was generated, so its usage counts."""
    return Failure(Outcome.CONTENT_POLICY, answer.status, detail, tokens=tokens, provider_request_id=request_id(answer))


def request_id(answer: HttpAnswer, fallback: object = None) -> str | None:
    """The provider's own id of the exchange, None when it gives none that is fit for a log."""
    for value in (answer.headers.get("x-request-id"), answer.headers.get("request-id"), fallback):
        if isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return None


def retry_after(answer: HttpAnswer) -> float | None:
    """Seconds the provider asks to wait, from its headers; None when it does not say."""
    milliseconds = seconds_in(answer.headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = answer.headers.get("retry-after")
    return seconds_in(value) if value is None or not value[:1].isalpha() else _until(value, answer.headers.get("date"))


def seconds_in(value: object) -> float | None:
    """``"12"``, ``"0.5"`` or ``"34.4s"`` as seconds within a day; None for anything else."""
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
