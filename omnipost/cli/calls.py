"""``omnipost invoke``, ``omnipost calls`` and ``omnipost export``."""

import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from omnipost.calling import Filters, Question
from omnipost.cli.drawing import count, harmless, instant, seconds, usd
from omnipost.cli.session import Session, WrongUsageError, command, text_of
from omnipost.shapes import Answer, Call

app = typer.Typer(help="The call log.", no_args_is_help=True)
LOOK_EVERY_S = 1.0
LOOKED_AT = 200
"""How many of the newest rows are looked at while following."""
REMEMBERED = 10_000
FORMATS = ("csv", "ndjson", "parquet", "focus")


def register(root: typer.Typer) -> None:
    """Add ``invoke`` and ``export`` to the command line itself."""
    command(root, "invoke")(invoke)
    command(root, "export")(export)


def invoke(
    session: Session,
    alias: Annotated[str, typer.Argument(help="The alias, or provider/model.")],
    text: Annotated[str | None, typer.Argument(help="What to ask; - (or nothing, in a pipe): from stdin.")] = None,
    system: Annotated[str | None, typer.Option(help="Instructions that come first.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Limit of the answer.")] = None,
    temperature: Annotated[float | None, typer.Option(help="How free the answer is.")] = None,
    embed: Annotated[bool, typer.Option("--embed", help="Embed the text instead; prints the vector.")] = False,  # noqa: FBT002
) -> None:
    """Call an alias and print the answer as it comes. Ctrl-C ends the call. --json: the whole answer, as one object."""
    asked = _asked(text)
    if embed:
        answer = session.client.invoke(alias, input=[asked])
        session.out.value(answer if session.out.as_json else (answer["output"].get("embeddings") or [None])[0])
        return
    question: Question = {"options": _options(max_tokens, temperature)}
    if system is None:
        question["prompt"] = asked
    else:
        question["messages"] = [{"role": "system", "content": system}, {"role": "user", "content": asked}]
    with session.client.stream(alias, **question) as stream:
        for piece in stream:
            if not session.out.as_json:
                session.out.piece(piece.text)
    if session.out.as_json:
        session.out.value(stream.answer)
    else:
        session.out.piece("\n")
        _conclude(session, stream.answer)


def _asked(text: str | None) -> str:
    if text not in (None, "-"):
        return str(text)
    if text is None and sys.stdin.isatty():
        raise WrongUsageError('Nothing is asked: omnipost invoke ALIAS "text", or pipe the text in.')
    if not (piped := text_of(Path("-"))).strip():
        raise WrongUsageError("Nothing is asked: stdin is empty.")
    return piped


def _options(max_tokens: int | None, temperature: float | None) -> dict[str, Any]:
    given = {"max_tokens": max_tokens, "temperature": temperature}
    return {name: value for name, value in given.items() if value is not None}


def _conclude(session: Session, answer: Answer) -> None:
    for called in answer["output"].get("tool_calls", ()):
        session.out.line(f"{called['function']['name']}({called['function']['arguments']})")
    for warning in answer["warnings"]:
        session.out.aside(f"{warning['code']}: {warning['detail']}", "yellow")
    if sys.stderr.isatty():
        used = answer["usage"]
        tokens = f"{count(used['input_tokens'])} → {count(used['output_tokens'])} tokens"
        facts = (
            f"{answer['provider']}/{answer['model']}",
            tokens,
            usd(answer["cost_usd"]),
            seconds(answer["latency_ms"]),
        )
        session.out.aside(" · ".join(facts), "dim")


@command(app, "tail")
def tail(
    session: Session,
    number: Annotated[int, typer.Option("--number", "-n", min=0, max=500, help="How many to begin with.")] = 20,
    follow: Annotated[bool, typer.Option(help="Go on with new ones until Ctrl-C.")] = True,  # noqa: FBT002 - a flag
    alias: Annotated[str | None, typer.Option(help="Only of this alias.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only of this provider.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only with this outcome, for example rate_limited.")] = None,
) -> None:
    """The newest attempts, newest last, and then every new one. --json: one object a line."""
    filters: Filters = {"alias_name": alias, "provider": provider, "outcome": outcome, "limit": LOOKED_AT}
    newest = _newest(session, filters)
    _show(session, reversed(newest[:number]))
    seen = dict.fromkeys(row["attempt_id"] for row in newest)
    while follow:
        time.sleep(LOOK_EVERY_S)
        new = [row for row in _newest(session, filters) if row["attempt_id"] not in seen]
        _show(session, reversed(new))
        seen |= dict.fromkeys(row["attempt_id"] for row in new)
        for forgotten in list(islice(seen, max(0, len(seen) - REMEMBERED))):
            del seen[forgotten]


def _newest(session: Session, filters: Filters) -> list[Call]:
    return list(islice(session.client.calls(**filters), LOOKED_AT))


def _show(session: Session, rows: Iterator[Call]) -> None:
    if session.out.as_json:
        session.out.values(rows)
        return
    for row in rows:
        fine = row["outcome"] == "success"
        session.out.line(
            Text(f"{instant(row['finished_at'])}  ", "dim"),
            f"{row['alias_name']}  {row['provider']}/{row['model']}  ",
            Text(harmless(row["outcome"]), "green" if fine else "red"),
            f"  {count(row['input_tokens'])} → {count(row['output_tokens'])} tokens"
            f"  {usd(row['cost_usd'])}  {seconds(row['latency_ms'])}",
        )


def export(
    session: Session,
    path: Annotated[Path, typer.Argument(help="The file to write; it is there whole or not at all.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="csv, ndjson, parquet or focus [the name's ending].")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="ISO date or instant, UTC [the beginning].")] = None,
    until: Annotated[str | None, typer.Option("--to", help="ISO date or instant, UTC [now].")] = None,
) -> None:
    """The call log as a file, with its SHA-256."""
    kind = format_ or path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise WrongUsageError(f"Say which format: --format {', '.join(FORMATS)}; or end the name with it.")
    progress = _progress if sys.stderr.isatty() and not session.out.as_json else None
    made = session.client.export(path, kind, since=since, until=until, progress=progress)
    if progress:
        sys.stderr.write("\r\x1b[K")
    if session.out.as_json:
        about = {"path": str(made.path), "format": kind, "bytes": made.bytes, "rows": made.rows, "sha256": made.sha256}
        session.out.value(about)
    else:
        rows = "" if made.rows is None else f"{count(made.rows)} rows, "
        session.out.line(f"{made.path}: {rows}{count(made.bytes)} bytes, sha256 {made.sha256}")


def _progress(written: int, rows: int | None) -> None:
    of = "" if rows is None else f" of {rows:,} rows"
    sys.stderr.write(f"\r{written / 1_000_000:,.1f} MB{of}\x1b[K")
    sys.stderr.flush()
