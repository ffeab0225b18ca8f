"""Prices of built-in models the catalogue has none for: genai-prices' table, which is compiled into its package."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import genai_prices
from genai_prices import data_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from services.router.domain.pricing import Price, Rate, price_in
from shared.messages.catalogue import ModelV1

PRICE_VERSION = f"genai-prices {genai_prices.__version__}"
_THEIR_IDS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "mistral": "mistral",
    "groq": "groq",
    "zhipu": "zhipuai",
    "openrouter": "openrouter",
}


def price_of(provider_id: str, model: ModelV1, moment: datetime) -> Price | None:
    """The price of ``model`` at ``moment``: the catalogue's own, else the table's; None when neither has one."""
    return price_in(model) or table_price(provider_id, model.id, moment)


def table_price(provider_id: str, model_id: str, moment: datetime) -> Price | None:
    """The table's price of text tokens at ``moment``; None for a model it does not know or prices otherwise."""
    theirs = _THEIR_IDS.get(provider_id)
    if theirs is None:
        return None
    try:
        _, model = data_snapshot.get_snapshot().find_provider_model(model_id, None, theirs, None)
    except LookupError:
        return None
    prices = model.get_prices(moment)
    sold = _rate(prices, "input_mtok"), _rate(prices, "output_mtok")
    if sold[0] is None:
        return None
    return Price(*sold, _rate(prices, "cache_read_mtok"), _rate(prices, "cache_write_mtok"), PRICE_VERSION)


def _rate(prices: ModelPrice, key: str) -> Rate | None:
    price: Decimal | TieredPrices | None = getattr(prices, key, None)
    if isinstance(price, TieredPrices):
        return Rate(price.base, tuple((tier.start, tier.price) for tier in price.tiers))
    return None if price is None else Rate(price)
