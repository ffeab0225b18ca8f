"""``python -m tests.providers.conformance --data FOLDER``: replay every exchange in a folder of recordings."""

import argparse
import asyncio
import sys
from collections import Counter
from contextlib import aclosing
from pathlib import Path

from services.router.client import ProviderClient
from tests.providers.conformance.canon import TABLE
from tests.providers.conformance.material import Item, items_in
from tests.providers.conformance.replay import Outcome, replay
from tests.providers.conformance.saying import REASONS

SHARED = Path(__file__).parents[4] / "shared" / "providers" / "recorded"
FIXTURES = Path(__file__).parents[1] / "fixtures"


def main() -> int:
    """0 when every exchange agrees, 1 otherwise, 2 when there is nothing to replay."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_folder(), help="the folder of recordings")
    parser.add_argument("--table", action="store_true", help="print the table of exceptions")
    parser.add_argument("--only", default="", help="replay what has this in its name")
    arguments = parser.parse_args()
    if arguments.table:
        print(TABLE)
        print("## What is refused by name, and why\n")
        print("\n".join(f"- `{name}`: {reason}" for name, reason in sorted(REASONS.items())))
        return 0
    items = [item for item in items_in(arguments.data) if arguments.only in item.name]
    if not any(item.in_scope for item in items):
        print(f"conformance: nothing to replay in {arguments.data}", file=sys.stderr)
        return 2
    print(f"conformance: {arguments.data}")
    return report(items, asyncio.run(replay_all([item for item in items if item.in_scope])))


def default_folder() -> Path:
    """The shared recordings, in a clone without them our own."""
    return SHARED if SHARED.is_dir() else FIXTURES


async def replay_all(items: list[Item]) -> list[Outcome]:
    """Every item, one after the other, with one client."""
    async with aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as client:
        return [await replay(item, client) for item in items]


def report(items: list[Item], outcomes: list[Outcome]) -> int:
    """Say what was done, and what differs. 0 when nothing does."""
    later = Counter((item.provider, item.kind) for item in items if not item.in_scope)
    for (provider, kind), count in sorted(later.items()):
        who = "" if provider == "another provider" else f"{provider} "
        print(f"  later: {count} of {who}{kind}")
    for outcome in outcomes:
        if outcome.refused is not None:
            print(f"  refused by name: {outcome.item.name}: {outcome.refused}")
    for outcome in outcomes:
        for problem in outcome.problems:
            print(f"  MISMATCH {outcome.item.provider} {outcome.item.name}: {problem}")
    for line in numbers(items, outcomes):
        print(line)
    good = sum(not outcome.problems for outcome in outcomes)
    print(f"conformance: {good} of {len(outcomes)} exchanges")
    return 0 if good == len(outcomes) else 1


def numbers(items: list[Item], outcomes: list[Outcome]) -> list[str]:
    """What was compared, in numbers."""
    total: Counter[str] = Counter(outcome.item.provider for outcome in outcomes)
    good: Counter[str] = Counter(outcome.item.provider for outcome in outcomes if not outcome.problems)
    later = sum(not item.in_scope for item in items)
    compared = sum(outcome.request_compared for outcome in outcomes)
    refused = sum(outcome.refused is not None for outcome in outcomes)
    count, by_hand = len(outcomes), sum(outcome.by_hand for outcome in outcomes)
    streams = [outcome for outcome in outcomes if outcome.splits]
    return [
        *(f"  {provider}: {good[provider]} of {of}" for provider, of in sorted(total.items())),
        f"  requests equal field for field: {compared}; refused by name: {refused}; none: {count - compared - refused}",
        f"  answers compared with a note by hand: {by_hand}; with the reference reader: {count}",
        f"  streams: {len(streams)}, cut in {sum(outcome.splits for outcome in streams)} ways",
        f"  later capabilities and other providers: {later}",
    ]


if __name__ == "__main__":
    sys.exit(main())
