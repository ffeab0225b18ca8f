"""What an adapter is: a row of data and pure functions between our request and a provider's bytes."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from services.router.domain.outcome import billing
from services.router.domain.sse import ServerEvent
from services.router.providers.events import Event
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, ToolCallV1
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Billing, Capability, KeyStatus, Outcome

UNTOLD = TokensV1()
"""Usage nobody has told: every count unknown."""


class Unfit(Exception):  # noqa: N818 - not an error: this target is passed over and the next one is taken
    """This target cannot take this request; ``reason`` is safe to show."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Ceiling:
    """Highest prices, in USD per million tokens."""

    prompt: Decimal
    completion: Decimal


@dataclass(frozen=True)
class ChatRequest:
    """A conversation for one model. ``options.max_tokens`` is always set, so that its cost is bounded.

    ``options.provider_options`` holds at most the row of this provider, and only fields its adapter lets through.
    ``continues``: the last message is the beginning of the answer, and the model shall go on with it (prefill).
    ``ceiling``: the highest prices the reservation covers; a provider that resells others' models must not pass them.
    """

    model: str
    messages: tuple[ChatMessageV1, ...] = field(repr=False)
    options: ChatOptionsV1
    stream: bool = False
    continues: bool = False
    ceiling: Ceiling | None = None


@dataclass(frozen=True)
class EmbedRequest:
    """Texts for one model, at most as many as ``Embedding.most_inputs``."""

    model: str
    inputs: tuple[str, ...] = field(repr=False)
    dimensions: int | None = None


@dataclass(frozen=True)
class HttpRequest:
    """A request below a provider's base URL; ``path`` starts with a slash and may carry a query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class HttpAnswer:
    """A complete answer: header names in lower case, body decoded.

    Of an answer with a status of 400 or more the body may be cut: the status is answer enough.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class ChatAnswer:
    """A complete generation. ``finish_reason``: ``stop``, ``length``, ``tool_calls``, or ``unknown`` when none is told.

    ``provider_cost_usd_micros``: the provider's own figure, None when it gives none.
    """

    text: str = field(repr=False)
    finish_reason: str
    tokens: TokensV1
    response_model: str | None = None
    provider_request_id: str | None = None
    provider_cost_usd_micros: int | None = None
    tool_calls: tuple[ToolCallV1, ...] = ()


@dataclass(frozen=True)
class EmbedAnswer:
    """Vectors in the order of the inputs, each as little-endian 32-bit floats. ``tokens``: input only."""

    vectors: tuple[bytes, ...] = field(repr=False)
    tokens: TokensV1
    response_model: str | None = None
    provider_request_id: str | None = None
    provider_cost_usd_micros: int | None = None


@dataclass(frozen=True)
class Pending:
    """The provider works on it: ask again with ``request`` after ``after_s`` seconds (0: at once).

    ``cancel``: what to send when nobody wants the answer any more. ``streams``: the next answer is a stream of events,
    and ``poll`` asks for the whole answer instead. ``elsewhere``: the whole address of the next request when it is not
    below the base URL; no key is sent there.
    """

    request: HttpRequest
    after_s: float
    cancel: HttpRequest | None = None
    streams: bool = False
    elsewhere: str | None = None
    poll: HttpRequest | None = None


@dataclass(frozen=True)
class Failure:
    """An attempt that gave no answer to use.

    ``detail``: a reason of our own or a known code of the provider; never its words, never a key.
    ``status``: the provider's, None without an answer. ``tokens``: usage of a generation that was refused or unusable.
    """

    outcome: Outcome
    status: int | None = None
    detail: str | None = None
    retry_after_s: float | None = None
    tokens: TokensV1 = UNTOLD
    provider_request_id: str | None = None


Verdict = tuple[KeyStatus, str | None]


@dataclass(frozen=True)
class Verification:
    """How to ask a provider whether it accepts a key, by a call that costs nothing. Every function is pure.

    Attributes:
        path: GET here.
        auth: the headers that carry the key, and those without which the provider answers nobody.
        judge: the verdict in the answer, with a reason of our own unless the key is active.
    """

    path: str
    auth: Callable[[str], dict[str, str]]
    judge: Callable[[HttpAnswer], Verdict]

    @property
    def request(self) -> HttpRequest:
        """The request that ``judge`` reads the answer of."""
        return HttpRequest("GET", self.path, {}, b"")


@dataclass(frozen=True)
class Dialect:
    """One way to ask a provider for text. Every function is pure.

    Attributes:
        encode: the request for a conversation. Raises ``Unfit`` when the provider cannot take it.
        decode: the answer, the failure or what to ask next in a whole HTTP answer of any status.
        events: what one server-sent event of a streamed answer says, in neutral events (``providers/events.py``).
        options: fields of ``ChatOptionsV1`` the provider understands.
        passes: fields of ``provider_options`` that are sent on as they are, in their place in the request.
        prefill: the adapter can express ``ChatRequest.continues``.
        lenient: hosts of all kinds speak it, and some end a whole answer without saying why.
    """

    encode: Callable[[ChatRequest], HttpRequest]
    decode: Callable[[HttpAnswer], "ChatAnswer | Failure | Pending"]
    events: Callable[[ServerEvent], Iterable[Event]]
    options: frozenset[str]
    passes: frozenset[str] = frozenset()
    prefill: bool = False
    lenient: bool = False


@dataclass(frozen=True)
class Embedding:
    """How to ask a provider for embeddings. ``most_inputs``: texts it takes in one request (and we can carry back)."""

    encode: Callable[[EmbedRequest], HttpRequest]
    decode: Callable[[HttpAnswer], EmbedAnswer | Failure]
    most_inputs: int
    dimensions: bool = True


@dataclass(frozen=True)
class Adapter:
    """One provider's dialects. Every function is pure.

    Attributes:
        chat: how it is asked for an answer to a conversation.
        auth: the headers that carry a key.
        fail: the failure in an answer that is no success.
        completion: its own way to complete a prompt, for models whose capabilities name completion; None: by ``chat``.
        embedding: how it is asked for embeddings, None when it makes none.
    """

    chat: Dialect
    auth: Callable[[str], dict[str, str]]
    fail: Callable[[HttpAnswer], Failure]
    completion: Dialect | None = None
    embedding: Embedding | None = None


@dataclass(frozen=True)
class Provider:
    """A provider we know. Without ``adapter`` it is planned: keys may be stored and checked, nothing can be called.

    ``region``: where it works, if ``base_url`` says so; None for hosts that may work anywhere.
    """

    id: str
    name: str
    base_url: str
    verification: Verification
    adapter: Adapter | None = None
    capabilities: tuple[Capability, ...] = ()
    planned_capabilities: tuple[Capability, ...] = ()
    aggregator: bool = False
    region: str | None = None


def billing_of(result: ChatAnswer | EmbedAnswer | Failure, *, sent: bool) -> Billing:
    """What the ledger does after ``result``.

    A generation whose usage the provider did not tell is ``UNKNOWN``, answered or refused; one it did tell is ``COST``.
    """
    told = result.tokens.input_tokens is not None and (
        result.tokens.output_tokens is not None or isinstance(result, EmbedAnswer)
    )
    if not isinstance(result, Failure):
        return Billing.COST if told or result.provider_cost_usd_micros is not None else Billing.UNKNOWN
    if told:
        return Billing.COST
    return billing(result.outcome, sent, result.status is not None and result.status >= 300)


def json_body(payload: Mapping[str, Any]) -> bytes:
    """``payload`` as compact UTF-8 JSON.

    Raises:
        Unfit: a text holds half of a surrogate pair, which is no Unicode text.
    """
    try:
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise Unfit("not_unicode") from None


def json_of(answer: HttpAnswer) -> dict[str, Any] | None:
    """The JSON object in the body, None when there is none."""
    return object_in(answer.body)


def object_in(text: str | bytes) -> dict[str, Any] | None:
    """The JSON object that ``text`` is, None when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def at(value: object, *path: str | int) -> Any:  # noqa: ANN401 - JSON of unknown shape; callers check what they take
    """What stands at ``path`` in parsed JSON, None when the path does not exist."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and len(value) > step:
            value = value[step]
        else:
            return None
    return value


def text_at(value: object, *path: str | int, longest: int = 200) -> str | None:
    """A short string at ``path``, None for anything else."""
    found = at(value, *path)
    return found if isinstance(found, str) and 0 < len(found) <= longest else None


def count_at(value: object, *path: str | int) -> int | None:
    """A plausible number of tokens at ``path``; None (unknown) for anything else."""
    found = at(value, *path)
    return found if type(found) is int and 0 <= found <= 1_000_000_000 else None
