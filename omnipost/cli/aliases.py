"""``omnipost aliases``: names for chains of targets."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from omnipost.cli.drawing import seconds, usd
from omnipost.cli.keys import Yes, done, one_of
from omnipost.cli.session import Session, certain, command
from omnipost.shapes import Alias, PlannedTarget

app = typer.Typer(help="Aliases: list, set, remove, explain.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The alias's name.")]


@command(app, "list")
def list_aliases(session: Session) -> None:
    """Every alias with its chain."""
    _show(session, session.client.aliases.list())


@command(app, "set")
def set_alias(
    session: Session,
    name: Name,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="provider/model; in order, repeated.")
    ] = None,
    capability: Annotated[str | None, typer.Option(help="chat, embedding, … [chat].")] = None,
    prefer: Annotated[str | None, typer.Option(help="quality, cost or speed [quality].")] = None,
    display_name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    on_stream_cut: Annotated[str | None, typer.Option(help="continue, hold or error [continue].")] = None,
) -> None:
    """Create an alias, or change what is named of it; --target replaces the whole chain."""
    given = {
        "capability": capability,
        "routing_preference": prefer,
        "display_name": display_name,
        "on_stream_cut": on_stream_cut,
    }
    settings = {field: value for field, value in given.items() if value is not None}
    aliases = session.client.aliases
    there = [alias for alias in aliases.list() if alias["alias_name"] == name]
    made = aliases.change(there[0]["id"], target, **settings) if there else aliases.add(name, target or (), **settings)
    if session.out.as_json:
        session.out.value(made)
    else:
        _show(session, [made])


@command(app, "remove")
def remove_alias(session: Session, name: Name, yes: Yes = False) -> None:  # noqa: FBT002 - a flag
    """Remove an alias; its calls stay in the log."""
    alias = _find(session, name)
    certain(f"Remove the alias {alias['alias_name']}?", yes=yes)
    session.client.aliases.remove(alias["id"])
    done(session, {"id": alias["id"], "removed": True}, f"Removed {alias['alias_name']}.")


@command(app, "explain")
def explain_alias(
    session: Session,
    name: Name,
    text: Annotated[str | None, typer.Argument(help="What would be asked.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Limit of the answer.")] = None,
) -> None:
    """What a call would try in which order, what it would pass over and why, and what it would cost; calls nobody."""
    question: dict[str, object] = {} if text is None else {"prompt": text}
    if max_tokens is not None:
        question["options"] = {"max_tokens": max_tokens}
    explained = session.client.aliases.explain(_find(session, name)["id"], **question)
    if session.out.as_json:
        session.out.value(explained)
        return
    session.out.table(
        (">", "TARGET", "WOULD", ">FORECAST", ">AT MOST", ">LATENCY"), map(_planned, explained["targets"])
    )


def _planned(target: PlannedTarget) -> Sequence[str | Text]:
    skipped = target["skipped"]
    if skipped:
        why = ": ".join(part for part in (skipped["reason"], skipped["detail"]) if part)
        would = Text(f"be passed over ({why})", "yellow")
    else:
        would = Text("be tried last: it rests" if target["resting"] else "be tried", "green")
    return (
        str(target["position"] or "-"),
        f"{target['provider']}/{target['model']}",
        would,
        usd(target["forecast_usd"]),
        usd(target["at_most_usd"]),
        "-" if target["latency_ms"] is None else seconds(target["latency_ms"]),
    )


def _find(session: Session, name: str) -> Alias:
    return one_of(session.client.aliases.list(), name, "aliases", "alias_name")


def _show(session: Session, aliases: Sequence[Alias]) -> None:
    if session.out.as_json:
        session.out.values(aliases)
        return
    session.out.table(
        ("NAME", "CAPABILITY", "PREFERS", "AVAILABLE", "TARGETS"),
        (
            (
                alias["alias_name"],
                alias["capability"],
                alias["routing_preference"],
                Text("yes", "green") if alias["available"] else Text("not yet", "yellow"),
                " → ".join(_targets(alias)),
            )
            for alias in aliases
        ),
    )


def _targets(alias: Alias) -> list[str]:
    rest = sorted(alias["fallback_chain"], key=lambda target: target["priority"])
    return [
        f"{alias['primary_provider']}/{alias['primary_model']}",
        *(f"{target['provider']}/{target['model']}" for target in rest),
    ]
