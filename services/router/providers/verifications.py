"""The free calls that tell whether a key of a provider without an adapter yet is accepted.

Where no call is known that only a good key is answered well, nothing but a refusal tells anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from services.router.providers.answers import REFUSED, bearer, failure_of, judge_by
from services.router.providers.base import Failure, HttpAnswer, Verdict, Verification, at, json_of
from shared.messages.vocabulary import KeyStatus, Outcome

NOT_VERIFIABLE = "not_verifiable"
_RUNWAY_VERSION = {"x-runway-version": "2024-11-06"}
NO_REQUEST = "00000000-0000-0000-0000-000000000000"
"""An id that no task has."""
_INVALID, _QUOTA, _RATE = Outcome.INVALID_KEY, Outcome.QUOTA_EXHAUSTED, Outcome.RATE_LIMITED
_AUTH_CODES = {str(code): _INVALID for code in range(1000, 1005)}
_KLING = _AUTH_CODES | {"1101": _QUOTA, "1102": _QUOTA, "1302": _RATE, "1303": _RATE}
_ELEVENLABS = {"quota_exceeded": _QUOTA, "missing_permissions": _INVALID}
_MISSING_SCOPE = frozenset({"missing_permissions"})


def _fail_by(meanings: Mapping[str, Outcome], *path: str) -> Callable[[HttpAnswer], Failure]:
    """The failure by the provider's own code at ``path``, which says more than the status; else by the status."""

    def fail(answer: HttpAnswer) -> Failure:
        code = str(at(json_of(answer), *path))
        failure = failure_of(answer)
        if code not in meanings:
            return failure
        return replace(
            failure, outcome=meanings[code], detail="missing_scope" if code in _MISSING_SCOPE else failure.detail
        )

    return fail


def only_refusals(judge: Callable[[HttpAnswer], Verdict]) -> Callable[[HttpAnswer], Verdict]:
    """``judge`` where only a refusal tells anything: whatever else is answered, the key stays unverified."""
    later = {str(outcome) for outcome in (_QUOTA, _RATE, Outcome.PROVIDER_ERROR, Outcome.TIMEOUT)}

    def narrowed(answer: HttpAnswer) -> Verdict:
        status, reason = judge(answer)
        return (status, reason) if reason in later | {REFUSED} else (KeyStatus.UNVERIFIED, NOT_VERIFIABLE)

    return narrowed


STABILITY = Verification("/v1/user/balance", bearer, judge_by(failure_of, shows="credits"))
# Keys may be limited to some endpoints: one that may not see its projects or user can be good for calls.
DEEPGRAM = Verification(
    "/v1/projects",
    lambda key: {"authorization": f"Token {key}"},
    judge_by(failure_of, shows="projects", undecided={403: "missing_scope"}),
)
ELEVENLABS = Verification(
    "/v1/user",
    lambda key: {"xi-api-key": key},
    judge_by(_fail_by(_ELEVENLABS, "detail", "status"), shows="user_id", undecided={403: "missing_scope"}),
)
RUNWAY = Verification(
    "/v1/organization", lambda key: bearer(key) | _RUNWAY_VERSION, judge_by(failure_of, shows="creditBalance")
)
KLING = Verification(
    "/v1/videos/text2video?pageNum=1&pageSize=1", bearer, judge_by(_fail_by(_KLING, "code"), shows="data")
)
PIKA = Verification(
    f"/fal-ai/pika/requests/{NO_REQUEST}/status",
    lambda key: {"authorization": f"Key {key}"},
    only_refusals(judge_by(failure_of, undecided={403: NOT_VERIFIABLE})),
)
