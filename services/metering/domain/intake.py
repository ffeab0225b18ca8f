"""Reading what arrives from outside: a fact that cannot be stored is named as malformed here, before any database.

Reasons never repeat a value of the message.
"""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pydantic

from shared.errors import invalid
from shared.messages.router import CallFinishedV1, TokensV1
from shared.messages.usage import MAX_HOURS

MAX_AMOUNT = 10**15
"""A thousand million dollars in micros: no honest amount is larger, and sums of these stay inside a bigint."""
MAX_TEXT = 300
_BIGINT, _INT = 2**63 - 1, 2**31 - 1
_TEXTS = (
    "call_id", "provider", "model", "alias_name", "capability", "finish_reason", "trace_id", "provider_request_id",
    "price_version",
)  # fmt: skip
_UUIDS, _MOMENTS = ("attempt_id", "key_id"), ("started_at", "finished_at")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOKENS = dict.fromkeys(TokensV1.model_fields, MAX_AMOUNT)
_HIGHEST = {
    "cost_usd_micros": MAX_AMOUNT, "latency_ms": MAX_AMOUNT, "first_token_ms": MAX_AMOUNT, "workspace_id": _BIGINT,
    "status": _INT, "attempt_index": _INT,
}  # fmt: skip
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Malformed(Exception):  # noqa: N818 - it is what the message is, and it is dead-lettered, not handled
    """The message cannot be a fact. ``reason`` is safe to store and to show."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = f"malformed: {reason}"


def read_finished(body: bytes) -> CallFinishedV1:
    """Parse a finished call. Raises Malformed, without any value of ``body``."""
    try:
        event = CallFinishedV1.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise Malformed(_where(error)) from None
    # Read from where pydantic keeps them: asking for each by name costs more than all the checks.
    fields = event.__dict__
    for name in _UUIDS:
        text = fields[name]
        if _UUID.fullmatch(text) is None and not _is_uuid(text):
            raise Malformed(f"{name} (not a UUID)")
    for name in _MOMENTS:
        moment = fields[name]
        if moment.tzinfo is None or not _EARLIEST <= moment < _LATEST:
            raise Malformed(f"{name} (no time zone, or no plausible date)")
    _check_numbers(event)
    for name in _TEXTS:
        text = fields[name]
        if text is not None and (len(text) > MAX_TEXT or "\0" in text):
            raise Malformed(f"{name} (too long, or a NUL character)")
    first = event.fallback_from
    if first is not None and not (is_storable(first.provider) and is_storable(first.model)):
        raise Malformed("fallback_from (too long, or a NUL character)")
    return event


def _check_numbers(event: CallFinishedV1) -> None:
    for numbers, highest in ((event.tokens.__dict__, _TOKENS), (event.__dict__, _HIGHEST)):
        for name, most in highest.items():
            number = numbers[name]
            if number is not None and not 0 <= number <= most:
                raise Malformed(f"{name} (out of range)")
    if not event.workspace_id:
        raise Malformed("workspace_id (out of range)")


def _where(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    known = [str(part) for part in first["loc"] if part in CallFinishedV1.model_fields or part == "tokens"]
    return f"{'.'.join(known) or 'body'} ({first['type']})"


def uuid_of(text: str, name: str) -> UUID:
    """Raises OmniError ``invalid_request`` unless ``text`` is a UUID."""
    if not _is_uuid(text):
        raise invalid(f"{name} must be a UUID.")
    return UUID(text)


def check_workspace(workspace_id: int) -> int:
    """Raises OmniError ``invalid_request`` unless it can be a workspace's id."""
    if not 0 < workspace_id <= _BIGINT:
        raise invalid("workspace_id must be a positive whole number.")
    return workspace_id


def check_key_owner(workspace_id: int) -> int:
    """As ``check_workspace``; the platform's own keys belong to workspace 0."""
    return workspace_id if workspace_id == 0 else check_workspace(workspace_id)


def check_amount(amount: int | None, name: str) -> int | None:
    """Raises OmniError ``invalid_request`` for a negative or absurdly large amount."""
    if amount is not None and not 0 <= amount <= MAX_AMOUNT:
        raise invalid(f"{name} must be between 0 and {MAX_AMOUNT}.")
    return amount


def check_hours(since: datetime | None, until: datetime) -> None:
    """Raises OmniError ``invalid_request`` unless [``since``, ``until``) is short enough to be shown by hour."""
    # Both ends are hours that have begun.
    if since is None or until - since >= timedelta(hours=MAX_HOURS + 1):
        raise invalid(f"By hour at most {MAX_HOURS // 24} days can be shown; name when they begin.")


def check_index(index: int) -> int:
    """Raises OmniError ``invalid_request`` unless it can count attempts."""
    if not 0 <= index <= _INT:
        raise invalid("attempt_index is out of range.")
    return index


def check_text(text: str, name: str) -> str:
    """Raises OmniError ``invalid_request`` for a text PostgreSQL could not store or index."""
    if not is_storable(text):
        raise invalid(f"{name} must be at most {MAX_TEXT} characters, without NUL.")
    return text


def is_storable(text: str | None) -> bool:
    """Whether PostgreSQL can store and index it."""
    return text is None or (len(text) <= MAX_TEXT and "\0" not in text)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return len(text) == 36
