import random
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers as price_table
from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.domain.own_prices import TABLE
from services.router.domain.pricing import Price, Rate, bound, cost, price_in
from services.router.prices import PRICE_VERSION, THEIR_IDS, price_of, table_price
from shared.messages.catalogue import ModelV1
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


seen: Counter[str] = Counter()


@settings(max_examples=500, deadline=None)
@given(prices, counts, counts, st.data())
def test_cost_is_never_above_the_bound(price: Price, input_tokens: int, max_tokens: int, data: st.DataObject) -> None:
    used, answered = data.draw(st.integers(0, input_tokens)), data.draw(st.integers(0, max_tokens))
    tokens = TokensV1(
        input_tokens=used,
        output_tokens=answered,
        cache_read_tokens=data.draw(st.none() | st.integers(0, used)),
        cache_write_tokens=data.draw(st.none() | st.integers(0, used)),
        reasoning_tokens=data.draw(st.none() | st.integers(0, answered)),
    )
    spent, held = cost(price, tokens), bound(price, input_tokens, max_tokens)
    assert spent is not None
    assert held is not None
    assert 0 <= spent <= held
    seen["cases"] += 1
    seen["with steps"] += bool(price.input and price.input.steps)
    seen["with cache"] += bool(tokens.cache_read_tokens or tokens.cache_write_tokens)
    seen["with reasoning"] += bool(tokens.reasoning_tokens)


def test_the_cases_were_of_every_kind() -> None:
    print(f"\nbound >= cost: {dict(seen)}")
    assert seen["cases"] >= 500
    assert min(seen.values()) >= 50


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
    assert cost(one_sided, TokensV1(input_tokens=3, output_tokens=0)) == bound(one_sided, 3, 0) == 3
    assert bound(Price(None, Rate(Decimal(1))), 3, 3) is None


def test_reasoning_is_part_of_the_output_and_not_paid_twice() -> None:
    price = Price(Rate(Decimal(0)), Rate(Decimal(10)))
    assert cost(price, TokensV1(input_tokens=5, output_tokens=100, reasoning_tokens=60)) == 1000


def test_a_step_holds_for_the_whole_call() -> None:
    price = Price(Rate(Decimal(1), ((200, Decimal(2)),)), Rate(Decimal(0)))
    assert [cost(price, TokensV1(input_tokens=size, output_tokens=0)) for size in (200, 201)] == [200, 402]


def test_cached_input_has_its_own_rate() -> None:
    price = Price(Rate(Decimal(10)), Rate(Decimal(0)), Rate(Decimal(1)), Rate(Decimal(12)))
    tokens = TokensV1(input_tokens=100, output_tokens=0, cache_read_tokens=50, cache_write_tokens=20)
    assert cost(price, tokens) == 30 * 10 + 50 * 1 + 20 * 12


def test_the_catalogue_wins_over_the_table() -> None:
    model = ModelV1(id="gpt-4o-mini", input_usd_per_mtok="7", output_usd_per_mtok="8")
    assert price_of("openai", model, MOMENT) == Price(Rate(Decimal(7)), Rate(Decimal(8)))
    plain = price_of("openai", ModelV1(id="gpt-4o-mini"), MOMENT)
    assert plain is not None
    assert plain.version == PRICE_VERSION
    assert plain.version.startswith("genai-prices ")


def test_the_catalogues_row_has_prices_of_cached_input_and_the_version_it_stands_since() -> None:
    row = ModelV1(
        id="m",
        input_usd_per_mtok="4",
        output_usd_per_mtok="8",
        cache_read_usd_per_mtok="0.4",
        cache_write_usd_per_mtok="5",
        price_version="catalogue v7",
    )
    price = price_of("acme", row, MOMENT)
    rates = [Rate(Decimal(usd)) for usd in ("4", "8", "0.4", "5")]
    assert price == Price(rates[0], rates[1], rates[2], rates[3], "catalogue v7")
    tokens = TokensV1(input_tokens=100, output_tokens=0, cache_read_tokens=50, cache_write_tokens=20)
    assert cost(price, tokens) == 30 * 4 + 20 + 20 * 5


def test_what_the_table_lacks_stands_in_our_own() -> None:
    price = price_of("zhipu", ModelV1(id="embedding-3"), MOMENT)
    assert price is not None
    assert price.version == "own 2026-11-23"
    assert cost(price, TokensV1(input_tokens=1_000_000, output_tokens=0)) == 69_000
    assert not [row for row in TABLE if table_price(*row, MOMENT)], "genai-prices knows these by now"
    assert all(source for *_, source in TABLE.values())


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("google", "gemini-2.5-flash-image"),
        ("google", "gemini-3.8-live"),
        ("openai", "gpt-audio"),
        ("openai", "gpt-image-1"),
        ("openrouter", "perplexity/sonar-deep-research"),
        ("openrouter", "perplexity/sonar"),
        ("openrouter", "perplexity/sonar-pro"),
        ("openrouter", "openai/gpt-4o-search-preview"),
        ("openrouter", "openai/o3-deep-research"),
        ("openai", "gpt-4o-search-preview"),
        ("openai", "gpt-4o-mini-search-preview-2025-03-11"),
        ("openai", "gpt-5-search-api"),
        ("openai", "o4-mini-deep-research"),
    ],
)
def test_a_model_that_is_also_paid_otherwise_has_no_price(provider: str, model: str) -> None:
    assert table_price(provider, model, MOMENT) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("openai", "whisper-1"), ("acme", "gpt-4o-mini"), ("kling", "kling-v2-1")],
)
def test_what_the_table_does_not_price_by_text_token_has_no_price(provider: str, model: str) -> None:
    assert table_price(provider, model, MOMENT) is None


def test_our_arithmetic_is_the_tables() -> None:
    chance, compared = random.Random(7), 0  # noqa: S311 - reproducible samples, no secret
    for provider_id, theirs in THEIR_IDS.items():
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
