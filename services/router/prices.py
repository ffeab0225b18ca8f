"""What a model costs: the catalogue's own price, else genai-prices' (compiled into its package), else our table's."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import genai_prices
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from services.router.domain.own_prices import own_price
from services.router.domain.pricing import Price, Rate, price_in
from shared.messages.catalogue import ModelV1

PRICE_VERSION = f"genai-prices {genai_prices.__version__}"
THEIR_IDS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "mistral": "mistral",
    "groq": "groq",
    "zhipu": "zhipuai",
    "openrouter": "openrouter",
}
_RATES = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
# Of kinds our requests for text cannot bring about: no sound, no film, no search, no hour-long cache.
_NEVER_MET = frozenset(
    {
        "input_audio_mtok", "cache_audio_read_mtok", "audio_hours", "input_audio_hours", "input_video_mtok",
        "web_searches_kcount", "storage_searches_kcount", "cache_write_1h_mtok", "cache_image_read_mtok",
    }
)  # fmt: skip

# These search the web in every call, unasked, which is paid for by the search; the tables tell their tokens alone.
_SEARCHES = re.compile(r"-search-(preview|api)|deep-research|^(~?perplexity/)")


def price_of(provider_id: str, model: ModelV1, moment: datetime) -> Price | None:
    """The price of ``model`` at ``moment``: the catalogue's own, else the tables'; None when none has one."""
    return price_in(model) or table_price(provider_id, model.id, moment) or own_price(provider_id, model.id)


def table_price(provider_id: str, model_id: str, moment: datetime) -> Price | None:
    """genai-prices' price of text tokens at ``moment``; None for a model it does not know or prices otherwise."""
    return price_among(get_snapshot(), provider_id, model_id, moment)


def price_among(snapshot: DataSnapshot, provider_id: str, model_id: str, moment: datetime) -> Price | None:
    """The same in any snapshot of genai-prices' data."""
    theirs = THEIR_IDS.get(provider_id)
    if theirs is None or _SEARCHES.search(model_id):
        return None
    try:
        _, model = snapshot.find_provider_model(model_id, None, theirs, None)
    except LookupError:
        return None
    prices = model.get_prices(moment)
    if _is_beyond_text(prices):
        return None
    paid, answered, read, written = (_rate(prices, key) for key in _RATES)
    return None if paid is None else Price(paid, answered, read, written, PRICE_VERSION)


def _is_beyond_text(prices: ModelPrice) -> bool:
    kinds = {key for key, value in vars(prices).items() if value is not None} - _NEVER_MET - set(_RATES)
    # Pictures are counted apart only where they are seen: a model that embeds is given texts alone.
    return bool(kinds - {"input_image_mtok"} if prices.output_mtok is None else kinds)


def _rate(prices: ModelPrice, key: str) -> Rate | None:
    price: Decimal | TieredPrices | None = getattr(prices, key, None)
    if isinstance(price, TieredPrices):
        return Rate(price.base, tuple((tier.start, tier.price) for tier in price.tiers))
    return None if price is None else Rate(price)
