"""``python -m deploy.local.update_prices [FILE]``: what newer prices would change (``make update-prices [FROM=file]``).

Reads the newest data genai-prices has published, or a file of the same form, and compares it with the installed one
for the models of our catalogue. Changes nothing: prices come with the package, and are taken over by its pin.
"""

import json
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx2
from genai_prices import UpdatePrices
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import _providers_from_raw

from services.router.domain.catalogue import MODELS
from services.router.domain.pricing import Price, Rate
from services.router.prices import PRICE_VERSION, THEIR_IDS, price_among, table_price
from shared.clock import SystemClock

WITHIN_S = 30.0
_KINDS = ("changed", "new", "gone")
_UNITS = ("input", "output", "cache_read", "cache_write")


class CannotCompare(Exception):  # noqa: N818 - reads as the sentence it is
    """There is nothing to compare with; the message says why and what to do."""


def main(arguments: list[str]) -> int:
    """0 when the prices were compared, changed or not; 2 when there was nothing to compare with."""
    if len(arguments) > 1:
        print("usage: make update-prices [FROM=<data.json>]", file=sys.stderr)
        return 2
    try:
        newer = read(Path(arguments[0])) if arguments else fetch()
    except CannotCompare as trouble:
        print(f"prices cannot be compared: {trouble}", file=sys.stderr)
        return 2
    found = list(differences(newer, SystemClock().now()))
    for kind, line in found:
        print(f"{kind:8} {line}")
    if found:
        print(f"installed: {PRICE_VERSION}. To take these over, raise its pin in requirements/run.in, then: make lock")
    changed, new, gone = (len({line.split()[0] for other, line in found if other == kind}) for kind in _KINDS)
    print(f"prices: {changed} changed, {new} new, {gone} gone")
    return 0


def fetch(url: str | None = None, within_s: float = WITHIN_S) -> DataSnapshot:
    """What genai-prices has published. Raises CannotCompare, ``within_s`` seconds at the latest."""
    door = UpdatePrices() if url is None else UpdatePrices(url=url)
    answer: list[DataSnapshot | Exception | None] = []

    def ask() -> None:
        try:
            answer.append(door.fetch())
        except (httpx2.HTTPError, ValueError, LookupError, TypeError) as trouble:
            answer.append(trouble)

    # A daemon: its own limits are per read, and a drop a second would keep it for ever.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(within_s)
    got = answer[0] if answer else None
    if isinstance(got, DataSnapshot):
        return got
    what = type(got).__name__ if got else f"no answer within {within_s:.0f} s"
    raise CannotCompare(f"{door.url} ({what}). Without the internet: make update-prices FROM=<a copy of that file>")


def read(path: Path) -> DataSnapshot:
    """The data in a file. Raises CannotCompare."""
    try:
        return DataSnapshot(_providers_from_raw(json.loads(path.read_text())), from_auto_update=False)
    except (OSError, ValueError, LookupError, TypeError) as trouble:
        raise CannotCompare(f"{path} is no data file of genai-prices ({type(trouble).__name__})") from None


def differences(newer: DataSnapshot, moment: datetime) -> Iterator[tuple[str, str]]:
    """``changed``, ``new`` or ``gone``, and a line that begins with ``provider/model``, in the catalogue's order."""
    for provider in THEIR_IDS:
        for model in MODELS.get(provider, ()):
            name = f"{provider}/{model.id}"
            old, new = table_price(provider, model.id, moment), price_among(newer, provider, model.id, moment)
            if old is None and new is not None:
                yield "new", f"{name} {_all(new)}"
            elif old is not None and new is None:
                yield "gone", f"{name} {_all(old)}"
            elif old is not None and new is not None:
                yield from (("changed", f"{name} {line}") for line in _changed(old, new))


def _changed(old: Price, new: Price) -> Iterator[str]:
    for unit in _UNITS:
        before, after = getattr(old, unit), getattr(new, unit)
        if before != after:
            yield f"{unit} {_text(before)} -> {_text(after)}"


def _all(price: Price) -> str:
    return ", ".join(f"{unit} {_text(rate)}" for unit in _UNITS if (rate := getattr(price, unit)) is not None)


def _text(rate: Rate | None) -> str:
    if rate is None:
        return "none"
    steps = "".join(f", above {above:,} tokens {price.normalize():f}" for above, price in rate.steps)
    return f"{rate.usd_per_mtok}{steps}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
