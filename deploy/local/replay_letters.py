"""``python -m deploy.local.replay_letters [ID]``: settle dead letters again (``make replay-letters [ID=…]``).

Without an id: every letter that waits, oldest first.
"""

import sys
from typing import Any

from deploy.local import settings as environment
from deploy.local.edge import Edge, EdgeRefused
from deploy.local.home import Home
from deploy.local.settings import CannotStart

PAGE = 500


def waiting(edge: Edge) -> list[int]:
    """The ids of all letters that wait, oldest first. Raises EdgeRefused."""
    found: list[int] = []
    query = f"?limit={PAGE}"
    while page := edge.call("GET", f"/ai-dead-letters{query}")["items"]:
        found += [letter["id"] for letter in page]
        query = f"?limit={PAGE}&before={found[-1]}"
    return found[::-1]


def replay(edge: Edge, letter_id: int) -> dict[str, Any]:
    """What became of one. Raises EdgeRefused."""
    replayed: dict[str, Any] = edge.call("POST", f"/ai-dead-letters/{letter_id}/replay")
    letter, result = replayed["letter"], replayed["result"]
    why = f" ({letter['reason']})" if result == "refused" else ""
    print(f"letter {letter_id}: {result}{why}")
    return replayed


def main(arguments: list[str]) -> int:
    """0 when every letter asked for is resolved now, 1 when one was refused, 2 when it cannot be found out."""
    if len(arguments) > 1 or not all(argument.isdigit() for argument in arguments):
        print("usage: make replay-letters [ID=<id>]", file=sys.stderr)
        return 2
    try:
        settings = environment.read()
        edge = Edge(settings.port, Home(settings.home).admin_token.read_text().strip())
        ids = [int(arguments[0])] if arguments else waiting(edge)
        results = [replay(edge, letter_id)["result"] for letter_id in ids]
    except (CannotStart, EdgeRefused, OSError) as trouble:
        print(f"letters cannot be replayed: {trouble}; is the stack running (make run)?", file=sys.stderr)
        return 2
    refused = results.count("refused")
    print(f"letters: {len(results) - refused} resolved, {refused} refused")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
