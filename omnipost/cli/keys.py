"""``omnipost keys``: provider keys, and ``omnipost rotate``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.text import Text

from omnipost.cli.drawing import instant, names
from omnipost.cli.session import Session, WrongUsageError, certain, command, secret
from omnipost.errors import NotFoundError
from omnipost.shapes import Key

app = typer.Typer(help="Provider keys: list, add, verify, revoke, rotate.", no_args_is_help=True)
KeyId = Annotated[str, typer.Argument(help="The key's id, its beginning, or its label.")]
Misplaced = Annotated[list[str] | None, typer.Argument(hidden=True)]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="File that holds the key; - for stdin.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_STYLES = {"active": "green", "invalid": "red", "unverified": "yellow", "revoked": "dim"}
_WHOLE_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
T = TypeVar("T", bound=Mapping[str, Any])


@command(app, "list")
def list_keys(session: Session) -> None:
    """Every key, masked."""
    _show(session, session.client.keys.list())


@command(app, "add")
def add_key(
    session: Session,
    provider: Annotated[str, typer.Argument(help="For example openai; see omnipost providers.")],
    label: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="text, image, audio or video; may be repeated [text].")
    ] = None,
    monthly_usd: Annotated[float | None, typer.Option(min=0, help="Monthly budget in USD [none].")] = None,
    daily_usd: Annotated[float | None, typer.Option(min=0, help="Daily budget in USD [none].")] = None,
    key_file: KeyFile = None,
    misplaced: Misplaced = None,
) -> None:
    """Store a key and verify it. The key is typed without echo, piped in, or read from --key-file."""
    _refuse(misplaced)
    limits = {"monthly_budget_usd": monthly_usd, "daily_budget_usd": daily_usd}
    api_key = secret("API key", key_file)
    made = session.client.keys.add(provider, api_key, label=label, scopes=scope or None, restrictions=None, **limits)
    _told(session, made)


@command(app, "verify")
def verify_key(session: Session, key: KeyId) -> None:
    """Ask the provider whether it accepts the key, at no cost."""
    _told(session, session.client.keys.verify(_id(session, key)))


@command(app, "rotate")
def rotate_key(session: Session, key: KeyId, key_file: KeyFile = None, misplaced: Misplaced = None) -> None:
    """Put another key of the same provider in its place."""
    _refuse(misplaced)
    key_id = _id(session, key)
    _told(session, session.client.keys.rotate(key_id, secret("New API key", key_file)))


@command(app, "revoke")
def revoke_key(session: Session, key: KeyId, yes: Yes = False) -> None:  # noqa: FBT002 - a flag
    """Revoke a key for good: calls under way with it are cut."""
    key_id = _id(session, key)
    certain(f"Revoke the key {key_id} for good?", yes=yes)
    session.client.keys.revoke(key_id)
    done(session, {"id": key_id, "status": "revoked"}, f"Revoked {key_id}.")


def _refuse(misplaced: list[str] | None) -> None:
    if misplaced:
        raise WrongUsageError(
            "A key does not belong on the command line, where your shell keeps it and other users see it: "
            "type it when asked, pipe it in, or give --key-file. Replace the one you have typed here."
        )


def done(session: Session, value: Mapping[str, Any], sentence: str) -> None:
    """Say that something is done."""
    if session.out.as_json:
        session.out.value(value)
    else:
        session.out.line(sentence)


def one_of(items: Sequence[T], text: str, group: str, named: str) -> T:
    """The item of ``group`` whose id begins with ``text``, or whose ``named`` field it is. Raises NotFoundError."""
    exact = [item for item in items if text in (item["id"], item[named])]
    found = exact or [item for item in items if str(item["id"]).startswith(text)]
    if len(found) != 1:
        # What nobody knows here may be a secret that was put here by mistake: it is not repeated.
        how = "Nothing" if not found else "More than one"
        raise NotFoundError(f"{how} in this workspace goes by that name or id; see omnipost {group} list.")
    return found[0]


def _id(session: Session, text: str) -> str:
    return text if _WHOLE_ID.fullmatch(text) else one_of(session.client.keys.list(), text, "keys", "label")["id"]


def _told(session: Session, key: Key) -> None:
    if session.out.as_json:
        session.out.value(key)
        return
    _show(session, [key])
    if key["status"] != "active":
        session.out.aside(
            f"{key['status']}: {key['status_reason']}. Enter another with omnipost keys rotate.", "yellow"
        )


def _show(session: Session, keys: Sequence[Key]) -> None:
    if session.out.as_json:
        session.out.values(keys)
        return
    session.out.table(
        ("ID", "PROVIDER", "LABEL", "KEY", "STATUS", "SCOPES", ">USD/MONTH", "VERIFIED"),
        (
            (
                key["id"],
                key["provider"],
                key["label"],
                key["masked_key"],
                Text(key["status"], _STYLES.get(key["status"], "")),
                names(key["scopes"]),
                "-" if key["monthly_budget_usd"] is None else f"{key['monthly_budget_usd']:g}",
                instant(key["last_verified_at"]),
            )
            for key in keys
        ),
    )
