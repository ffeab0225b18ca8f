"""What a call costs, can cost at most, and will likely cost. 1 USD per million tokens is 1 micro-dollar per token."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from shared.messages.catalogue import ModelV1
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from shared.messages.router import ForecastV1, TokensV1
from shared.money import round_half_up, round_up

CATALOGUE = "catalogue"
MOST_IMAGE_TOKENS = 48_169
"""What a picture counts at most where the model's own figure is not known: the highest of any model we know
(gpt-4o-mini: 2,833 and 5,667 for each of at most 8 tiles; developers.openai.com/api/docs/guides/images-vision)."""
_PRECISION = 60  # decimal digits: exact for any price of 21 digits times any number of tokens
_SHOWN = 12
_BYTES_PER_TOKEN = 4

# Roles and separators. The longest we know is Harmony's: <|start|>functions.name to=assistant<|channel|>commentary…
_PER_MESSAGE, _PER_TOOL = 16, 32
# What chat templates put before a conversation: Harmony's preamble of gpt-oss is the longest we have seen, below
# 150 tokens; Llama's and MiniMax's are about 30.
_PER_CALL = 256
# What providers add once there are tools or a schema: 530 at most at Anthropic (docs.anthropic.com, tool use pricing),
# 804 told of Claude 4.7; Qwen's and Llama's templates stay below 300.
_FOR_TOOLS = _FOR_SCHEMA = 1024


@dataclass(frozen=True)
class Rate:
    """Micro-dollars per token. ``steps``: (above how many input tokens, rate) for prices that rise with the input.

    A step that is reached holds for all tokens of the call, not only for those above it.
    """

    base: Decimal
    steps: tuple[tuple[int, Decimal], ...] = ()

    @property
    def usd_per_mtok(self) -> str:
        """The base rate in USD per million tokens, to the twelve decimals that are shown."""
        return format(round(self.base, _SHOWN).normalize(), "f")

    def at(self, input_tokens: int) -> Decimal:
        """The rate of a call with ``input_tokens``."""
        return next((rate for above, rate in reversed(self.steps) if input_tokens > above), self.base)

    def highest(self, input_tokens: int) -> Decimal:
        """The highest rate of any call with at most ``input_tokens``."""
        return max([self.base, *(rate for above, rate in self.steps if input_tokens > above)])


@dataclass(frozen=True)
class Price:
    """A model's rates. None: that kind of token has no price of its own (cached input costs what input costs).

    Reasoning is output and costs what output costs. ``version`` names where the price comes from.
    """

    input: Rate | None
    output: Rate | None
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    version: str = CATALOGUE


def price_in(model: ModelV1) -> Price | None:
    """The price written in the catalogue, None when it has none.

    A row that names one side only prices only that side: the other is free. Cached input without a price of its own
    costs what input costs.
    """
    if model.input_usd_per_mtok is None and model.output_usd_per_mtok is None:
        return None
    return Price(
        Rate(Decimal(model.input_usd_per_mtok or "0")),
        Rate(Decimal(model.output_usd_per_mtok or "0")),
        _written(model.cache_read_usd_per_mtok),
        _written(model.cache_write_usd_per_mtok),
        model.price_version or CATALOGUE,
    )


def _written(usd: str | None) -> Rate | None:
    return None if usd is None else Rate(Decimal(usd))


def upper_bound_tokens(
    messages: Sequence[ChatMessageV1], options: ChatOptionsV1 | None = None, model: ModelV1 | None = None
) -> int:
    """Input tokens that a conversation can be at most, at ``model``.

    A byte-level tokenizer never makes more tokens than there are bytes; what templates and providers add is allowed
    for. A picture counts the model's ``max_image_tokens`` whatever its detail: not every provider heeds that wish.
    """
    pictures = sum(len(item.images) for item in messages)
    each = (model and model.max_image_tokens) or MOST_IMAGE_TOKENS
    return sum(map(_message_bytes, messages)) + _option_bytes(options) + pictures * each + _PER_CALL


def expected_tokens(
    messages: Sequence[ChatMessageV1], options: ChatOptionsV1 | None = None, model: ModelV1 | None = None
) -> int:
    """Input tokens of a conversation, guessed at four bytes a token; a picture counts what it counts at most."""
    pictures = sum(len(item.images) for item in messages)
    each = (model and model.max_image_tokens) or MOST_IMAGE_TOKENS
    asked = options or ChatOptionsV1()
    told = sum(_bytes(item.text) + sum(_bytes(call.arguments) for call in item.tool_calls) for item in messages)
    for tool in asked.tools or ():
        told += _bytes(tool.name) + _bytes(tool.description or "") + len(_json(tool.parameters, indent=None))
    if asked.response_format is not None and asked.response_format.schema_ is not None:
        told += len(_json(asked.response_format.schema_, indent=None))
    return -(-told // _BYTES_PER_TOKEN) + pictures * each


def embedding_bound_tokens(inputs: Sequence[str]) -> int:
    """Input tokens that texts to embed can be at most; each gets a begin and an end."""
    return sum(_bytes(text) + _PER_MESSAGE for text in inputs)


def cost(price: Price | None, tokens: TokensV1) -> int | None:
    """Micro-dollars of a call, halves rounded up; None when usage or the price it needs is unknown."""
    if price is None or tokens.input_tokens is None or tokens.output_tokens is None:
        return None
    size = tokens.input_tokens
    read = min(tokens.cache_read_tokens or 0, size)
    written = min(tokens.cache_write_tokens or 0, size - read)
    amounts = (
        (size - read - written, price.input),
        (read, price.cache_read or price.input),
        (written, price.cache_write or price.input),
        (tokens.output_tokens, price.output),
    )
    if any(amount and rate is None for amount, rate in amounts):
        return None
    with localcontext() as context:
        context.prec = _PRECISION
        return round_half_up(sum((amount * rate.at(size) for amount, rate in amounts if rate is not None), Decimal(0)))


def bound(price: Price | None, input_tokens: int, max_tokens: int) -> int | None:
    """Micro-dollars that a call costs at most, rounded up; None when it has no price.

    Whatever share of the input is read from or written to a cache, and whichever step of the price is reached,
    ``cost`` of a call with at most these tokens is not above it.
    """
    if price is None or price.input is None or (price.output is None and max_tokens):
        return None
    rates = [rate for rate in (price.input, price.cache_read, price.cache_write) if rate is not None]
    with localcontext() as context:
        context.prec = _PRECISION
        dearest = max(rate.highest(input_tokens) for rate in rates)
        answer = price.output.highest(input_tokens) if price.output is not None else Decimal(0)
        return round_up(input_tokens * dearest + max_tokens * answer)


def embedding_bound(price: Price | None, input_tokens: int) -> int | None:
    """Micro-dollars that embedding costs at most, rounded up; None when it has no price."""
    return bound(price, input_tokens, 0)


def forecast(
    price: Price | None, messages: Sequence[ChatMessageV1], options: ChatOptionsV1, model: ModelV1
) -> ForecastV1:
    """What a conversation would cost; ``options.max_tokens`` is the limit that would be sent, and all of it is used."""
    limit = options.max_tokens or 0
    return _forecast(
        price, expected_tokens(messages, options, model), upper_bound_tokens(messages, options, model), limit
    )


def embedding_forecast(price: Price | None, inputs: Sequence[str]) -> ForecastV1:
    """What embedding would cost."""
    expected = -(-sum(map(_bytes, inputs)) // _BYTES_PER_TOKEN)
    return _forecast(price, expected, embedding_bound_tokens(inputs), 0)


def _forecast(price: Price | None, expected: int, at_most: int, limit: int) -> ForecastV1:
    return ForecastV1(
        expected_usd_micros=cost(price, TokensV1(input_tokens=expected, output_tokens=limit)),
        at_most_usd_micros=bound(price, at_most, limit),
        price_version=None if price is None else price.version,
    )


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _json(value: object, *, indent: int | None = 4) -> str:
    # Templates write JSON into the prompt in their own way; indented by four and with escapes is the longest of them.
    return json.dumps(value, indent=indent)


def _message_bytes(message: ChatMessageV1) -> int:
    calls = sum(_bytes(call.id) + _bytes(call.name) + len(_json(call.arguments)) for call in message.tool_calls)
    calls += _PER_TOOL * len(message.tool_calls)
    if message.role == "tool":  # some templates write a result as a JSON string
        return len(_json(message.text)) + _bytes(message.tool_call_id or "") + _PER_MESSAGE + _PER_TOOL
    return _bytes(message.text) + calls + _PER_MESSAGE * max(1, len(message.parts))


def _option_bytes(options: ChatOptionsV1 | None) -> int:
    if options is None:
        return 0
    total = 0
    if options.tools:
        total += _FOR_TOOLS + sum(len(_json(tool.model_dump(mode="json"))) + _PER_TOOL for tool in options.tools)
    if options.response_format is not None and options.response_format.type != "text":
        total += _FOR_SCHEMA + len(_json(options.response_format.model_dump(mode="json")))
    if options.provider_options:
        # A schema may be among them, or a mode that comes with a prompt of its own.
        total += _FOR_SCHEMA + len(_json(options.provider_options))
    return total
