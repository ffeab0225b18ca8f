"""What happens to each of the streams that are cut at random: drawn from a seed, the same in every process.

The provider (``streams_provider.py``) and the client (``streams_client.py``) draw the same plan from a call's number,
so that neither has to be told.
"""

import random
import re
from dataclasses import dataclass
from typing import Literal

Side = Literal["provider", "client", "neither"]
Cut = Literal["fin", "rst", "stall"]

OPENAI, OTHER, ANTHROPIC, GOOGLE = "first", "other", "anthropic", "google"
CHAINS = (
    (OPENAI,), (ANTHROPIC,), (GOOGLE,), (OPENAI, OTHER), (OTHER, OPENAI),
    (OPENAI, ANTHROPIC), (ANTHROPIC, OTHER), (GOOGLE, OPENAI), (OTHER, GOOGLE), (GOOGLE, ANTHROPIC),
)  # fmt: skip
POLICIES = ("continue", "continue", "hold", "error")
# Two hosts of OpenAI's dialect that we know nothing of, a model that takes the beginning of its answer, one without.
MODELS = {OPENAI: "m", OTHER: "m", ANTHROPIC: "claude-haiku-4-5", GOOGLE: "gemini-2.5-flash"}
WORKSPACES = 4
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789éß漢字🙂"
_BLANKS = (" ", " ", " ", " ", " ", "\n\n", "\n- ")
_TOKENS = re.compile(r"\s+|\S{1,5}")
# Of an answer at the edge, besides its text: head, the last event; and what one delta adds.
_FIXED_BYTES, _DELTA_BYTES = 1_500, 45


@dataclass(frozen=True)
class Plan:
    """One call.

    Attributes:
        side: who cuts it, if anybody.
        policy: the alias's ``on_stream_cut``.
        leave_at: after so many bytes of the answer the client leaves, ``leave_after_s``: after so long; whichever is
            sooner. Both None: it stays.
        politely: it leaves with FIN, else with RST.
        longest_pause_s: of the provider between two writes.
    """

    number: int
    side: Side
    policy: str
    chain: tuple[str, ...]
    workspace: int
    text: str
    leave_at: int | None
    leave_after_s: float | None
    politely: bool
    longest_pause_s: float


@dataclass(frozen=True)
class Conduct:
    """How the provider treats one request: it writes ``share`` of its answer's bytes, then does ``cut``; None: all."""

    share: float
    cut: Cut | None
    repeats: bool


def plan_of(seed: int, number: int) -> Plan:
    """The plan of call ``number``."""
    rng = _rng(seed, number)
    side: Side = rng.choices(("provider", "client", "neither"), (46, 46, 8))[0]
    text = "".join(_word(rng) + rng.choice(_BLANKS) for _ in range(rng.randrange(6, 90))) + "end."
    leaves, by_time = side == "client", rng.random() < 0.2
    # Slow enough that a client is missed: its answer would go on for seconds after it has left.
    pause_s = rng.choice((0.04, 0.25)) if leaves else 0.04
    longest = _FIXED_BYTES // 2 + len(text.encode()) + _DELTA_BYTES * (len(text) // 12)
    return Plan(
        number=number,
        side=side,
        policy=rng.choice(POLICIES),
        chain=rng.choice(CHAINS),
        workspace=rng.randrange(WORKSPACES),
        text=text,
        leave_at=rng.randrange(1, longest) if leaves and not by_time else None,
        leave_after_s=rng.uniform(0, 8 * pause_s) if leaves and by_time else None,
        politely=rng.random() < 0.5,
        longest_pause_s=pause_s,
    )


def conduct_of(seed: int, plan: Plan, attempt: int) -> Conduct:
    """What the provider does with the request that is the call's ``attempt``-th, from 0."""
    rng = _rng(seed, plan.number, attempt)
    cuts = plan.side == "provider" and (attempt == 0 or rng.random() < 0.25)
    kind: Cut = rng.choices(("fin", "rst", "stall"), (45, 45, 10))[0]
    return Conduct(rng.random(), kind if cuts else None, repeats=rng.random() < 0.4)


def pieces_of(seed: int, number: int, text: str) -> list[str]:
    """``text`` as a model says it: a few tokens at a time, blanks never torn apart."""
    rng, tokens, pieces = _rng(seed, number, "pieces"), _TOKENS.findall(text), []
    while tokens:
        size = rng.randrange(1, 7)
        pieces.append("".join(tokens[:size]))
        tokens = tokens[size:]
    return pieces


def slices_of(seed: int, number: int, attempt: int, data: bytes) -> list[bytes]:
    """``data`` as it goes over the wire, torn apart anywhere."""
    rng, slices = _rng(seed, number, attempt, "slices"), []
    most = max(2, len(data) // rng.randrange(4, 16))
    while data:
        size = rng.randrange(1, most)
        slices.append(data[:size])
        data = data[size:]
    return slices


def _word(rng: random.Random) -> str:
    return "".join(rng.choices(_LETTERS, k=rng.randrange(3, 12)))


def _rng(*what: object) -> random.Random:
    return random.Random(":".join(map(str, what)))  # noqa: S311 - no secret
