"""What a call costs, and at most can cost. A price of 1 USD per million tokens is 1 micro-dollar per token."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from shared.messages.catalogue import ModelV1
from shared.messages.chat import ChatMessageV1
from shared.messages.router import TokensV1
from shared.money import round_half_up, round_up

CATALOGUE = "catalogue"
_PER_MESSAGE, _PER_CALL = 8, 16
_PRECISION = 60  # decimal digits: exact for any price of 21 digits times any number of tokens


@dataclass(frozen=True)
class Rate:
    """Micro-dollars per token. ``steps``: (above how many input tokens, rate) for prices that rise with the input.

    A step that is reached holds for all tokens of the call, not only for those above it.
    """

    base: Decimal
    steps: tuple[tuple[int, Decimal], ...] = ()

    @property
    def usd_per_mtok(self) -> str:
        """The base rate in USD per million tokens."""
        return format(self.base.normalize(), "f")

    def at(self, input_tokens: int) -> Decimal:
        """The rate of a call with ``input_tokens``."""
        return next((rate for above, rate in reversed(self.steps) if input_tokens > above), self.base)

    def highest(self, input_tokens: int) -> Decimal:
        """The highest rate of any call with at most ``input_tokens``."""
        return max([self.base, *(rate for above, rate in self.steps if input_tokens > above)])


@dataclass(frozen=True)
class Price:
    """A model's rates. None: that kind of token has no price of its own (cached input costs what input costs).

    ``version`` names where the price comes from.
    """

    input: Rate | None
    output: Rate | None
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    version: str = CATALOGUE


def price_in(model: ModelV1) -> Price | None:
    """The price written in the catalogue, None when it has none.

    A row that names one side only prices only that side: the other is free.
    """
    if model.input_usd_per_mtok is None and model.output_usd_per_mtok is None:
        return None
    return Price(Rate(Decimal(model.input_usd_per_mtok or "0")), Rate(Decimal(model.output_usd_per_mtok or "0")))


def upper_bound_tokens(messages: Sequence[ChatMessageV1]) -> int:
    """Input tokens that ``messages`` can be at most.

    A byte-level tokenizer never makes more tokens than there are bytes; roles and separators are allowed for.
    """
    return sum(len(item.text.encode(errors="surrogatepass")) + _PER_MESSAGE for item in messages) + _PER_CALL


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
    if price is None or price.input is None or price.output is None:
        return None
    rates = [rate for rate in (price.input, price.cache_read, price.cache_write) if rate is not None]
    with localcontext() as context:
        context.prec = _PRECISION
        dearest = max(rate.highest(input_tokens) for rate in rates)
        return round_up(input_tokens * dearest + max_tokens * price.output.highest(input_tokens))
