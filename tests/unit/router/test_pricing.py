import random
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers as price_table
from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.domain.pricing import Price, Rate, bound, cost, price_in, upper_bound_tokens
from services.router.prices import _THEIR_IDS, PRICE_VERSION, price_of, table_price
from shared.messages.catalogue import ModelV1
from shared.messages.chat import ChatMessageV1
from shared.messages.router import TokensV1
from shared.money import round_half_up

MOMENT = datetime(2026, 11, 23, 10, tzinfo=UTC)
money = st.decimals(min_value=0, max_value=10**6, places=6, allow_nan=False, allow_infinity=False)
rates = st.builds(
    lambda base, steps: Rate(base, tuple(sorted(steps.items()))),
    money,
    st.dictionaries(st.integers(0, 300_000), money, max_size=3),
)
prices = st.builds(Price, rates, rates, st.none() | rates, st.none() | rates)
counts = st.integers(0, 400_000)


@settings(max_examples=500, deadline=None)
@given(prices, counts, counts, st.data())
def test_cost_is_never_above_the_bound(price: Price, input_tokens: int, max_tokens: int, data: st.DataObject) -> None:
    used = data.draw(st.integers(0, input_tokens))
    tokens = TokensV1(
        input_tokens=used,
        output_tokens=data.draw(st.integers(0, max_tokens)),
        cache_read_tokens=data.draw(st.none() | st.integers(0, used)),
        cache_write_tokens=data.draw(st.none() | st.integers(0, used)),
    )
    spent, held = cost(price, tokens), bound(price, input_tokens, max_tokens)
    assert spent is not None
    assert held is not None
    assert 0 <= spent <= held


def test_bound_and_cost_are_equal_when_only_output_is_priced_and_all_of_it_is_used() -> None:
    price = price_in(ModelV1(id="m", output_usd_per_mtok="10"))
    assert bound(price, 12345, 100) == cost(price, TokensV1(input_tokens=7, output_tokens=100)) == 1000


@pytest.mark.parametrize(
    ("usd", "tokens", "micros"),
    [("0.5", 1, 1), ("0.4", 1, 0), ("0.15", 10, 2), ("0.15", 8, 1), ("3", 7, 21), ("0.000000000001", 10**9, 0)],
)
def test_cost_is_rounded_half_up(usd: str, tokens: int, micros: int) -> None:
    price = price_in(ModelV1(id="m", input_usd_per_mtok=usd, output_usd_per_mtok="0"))
    assert cost(price, TokensV1(input_tokens=tokens, output_tokens=0)) == micros


def test_bound_is_rounded_up() -> None:
    price = price_in(ModelV1(id="m", input_usd_per_mtok="0.000001", output_usd_per_mtok="0"))
    assert bound(price, 1, 0) == 1


def test_the_unknown_stays_unknown() -> None:
    price = price_in(ModelV1(id="m", input_usd_per_mtok="1", output_usd_per_mtok="1"))
    assert cost(price, TokensV1()) is None
    assert cost(price, TokensV1(input_tokens=3)) is None
    assert cost(price, TokensV1(output_tokens=3)) is None
    assert cost(None, TokensV1(input_tokens=3, output_tokens=3)) is None
    assert bound(None, 3, 3) is None
    assert price_in(ModelV1(id="m")) is None
    one_sided = Price(Rate(Decimal(1)), None)
    assert bound(one_sided, 3, 3) is None
    assert cost(one_sided, TokensV1(input_tokens=3, output_tokens=1)) is None
    assert cost(one_sided, TokensV1(input_tokens=3, output_tokens=0)) == 3


def test_a_step_holds_for_the_whole_call() -> None:
    price = Price(Rate(Decimal(1), ((200, Decimal(2)),)), Rate(Decimal(0)))
    assert [cost(price, TokensV1(input_tokens=size, output_tokens=0)) for size in (200, 201)] == [200, 402]


def test_cached_input_has_its_own_rate() -> None:
    price = Price(Rate(Decimal(10)), Rate(Decimal(0)), Rate(Decimal(1)), Rate(Decimal(12)))
    tokens = TokensV1(input_tokens=100, output_tokens=0, cache_read_tokens=50, cache_write_tokens=20)
    assert cost(price, tokens) == 30 * 10 + 50 * 1 + 20 * 12


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=5))
def test_tokens_are_at_most_bytes(texts: list[str]) -> None:
    messages = [ChatMessageV1(role="user", content=text) for text in texts]
    assert upper_bound_tokens(messages) == sum(len(text.encode()) + 8 for text in texts) + 16


def test_the_catalogue_wins_over_the_table() -> None:
    model = ModelV1(id="gpt-4o-mini", input_usd_per_mtok="7", output_usd_per_mtok="8")
    assert price_of("openai", model, MOMENT) == Price(Rate(Decimal(7)), Rate(Decimal(8)))
    plain = price_of("openai", ModelV1(id="gpt-4o-mini"), MOMENT)
    assert plain is not None
    assert plain.version == PRICE_VERSION
    assert plain.version.startswith("genai-prices ")


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("openai", "whisper-1"), ("acme", "gpt-4o-mini"), ("kling", "kling-v2-1")],
)
def test_what_the_table_does_not_price_by_text_token_has_no_price(provider: str, model: str) -> None:
    assert table_price(provider, model, MOMENT) is None


def test_our_arithmetic_is_the_tables() -> None:
    chance, compared = random.Random(7), 0  # noqa: S311 - reproducible samples, no secret
    for provider_id, theirs in _THEIR_IDS.items():
        known = next(item for item in price_table if item.id == theirs)
        for model in known.models[:60]:
            price = table_price(provider_id, model.id, MOMENT)
            if price is None or price.output is None:
                continue
            size, output = chance.choice([10, 150_000, 210_000, 900_000]), chance.randrange(10_000)
            read, written = chance.randrange(size // 2), chance.randrange(size // 2)
            tokens = TokensV1(
                input_tokens=size, output_tokens=output, cache_read_tokens=read, cache_write_tokens=written
            )
            usage = Usage(input_tokens=size, output_tokens=output, cache_read_tokens=read, cache_write_tokens=written)
            expected = calc_price(usage, model.id, provider_id=theirs, genai_request_timestamp=MOMENT)
            assert cost(price, tokens) == round_half_up(expected.total_price * 1_000_000), (provider_id, model.id)
            compared += 1
    print(f"\nprices compared with genai-prices: {compared}")
    assert compared > 150
