"""``omnipost tokens``, ``rotate``, ``providers``, ``budgets`` and ``health``."""

from typing import Annotated

import typer
from rich.text import Text

from omnipost.cli.drawing import instant
from omnipost.cli.keys import Yes, done, one_of
from omnipost.cli.session import Session, certain, command
from omnipost.errors import UnavailableError

tokens = typer.Typer(help="Access tokens: list, add, revoke.", no_args_is_help=True)
budgets = typer.Typer(help="Budgets: resume a halted one.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add ``rotate``, ``providers`` and ``health`` to the command line."""
    command(root, "rotate")(rotate)
    command(root, "providers")(providers)
    command(root, "health")(health)


@command(tokens, "list")
def list_tokens(session: Session) -> None:
    """Every access token, masked."""
    found = session.client.tokens.list()
    if session.out.as_json:
        session.out.values(found)
        return
    session.out.table(
        ("ID", "NAME", "ROLE", "TOKEN", "MADE", "EXPIRES", "REVOKED"),
        (
            (
                token["id"],
                token["name"],
                token["role"],
                token["masked"],
                instant(token["created_at"]),
                instant(token["expires_at"]),
                instant(token["revoked_at"]),
            )
            for token in found
        ),
    )


@command(tokens, "add")
def add_token(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Annotated[str, typer.Option(help="owner, admin, member or viewer.")] = "member",
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="When it ends [never].")] = None,
) -> None:
    """Make an access token. It is printed now and never again: on stdout, alone, so that it can be put in a file."""
    made = session.client.tokens.add(name, role, expires_in_days=expires_in_days)
    if session.out.as_json:
        session.out.value(made)
        return
    session.out.aside(f"{made['role']} token {made['id']}; it is shown this once:")
    session.out.line(made["token"])


@command(tokens, "revoke")
def revoke_token(
    session: Session,
    token: Annotated[str, typer.Argument(help="The token's id or name, never the token itself.")],
    yes: Yes = False,  # noqa: FBT002 - a flag
) -> None:
    """Let nobody in with a token any more."""
    found = one_of([row for row in session.client.tokens.list() if not row["revoked_at"]], token, "tokens", "name")
    certain(f"Revoke the token {found['name']}?", yes=yes)
    session.client.tokens.revoke(found["id"])
    done(session, {"id": found["id"], "revoked": True}, f"Revoked {found['name']}.")


@command(budgets, "resume")
def resume(
    session: Session, key: Annotated[str | None, typer.Argument(help="The key's id [the workspace's budget].")] = None
) -> None:
    """Admit calls again on a halted budget."""
    session.client.budgets.resume(key)
    done(session, {"key_id": key, "halted": None}, "Calls are admitted again.")


def rotate(session: Session) -> None:
    """Give the workspace a new data key. Its stored keys are encrypted anew with it; calls go on meanwhile."""
    rotated = session.client.workspaces.rotate(session.workspace)
    done(
        session,
        rotated,
        f"Workspace {rotated['workspace_id']} has a new data key; {rotated['keys']} keys are under it.",
    )


def providers(session: Session) -> None:
    """The catalogue of providers."""
    found = session.client.providers.list()
    if session.out.as_json:
        session.out.values(found)
        return
    session.out.table(
        ("ID", "NAME", "STATUS", "REGION", ">MODELS", "CAPABILITIES"),
        (
            (
                provider["id"],
                provider["name"],
                Text(provider["status"], "green" if provider["status"] == "available" else "yellow"),
                provider["region"] or "-",
                str(len(provider["models"])),
                ", ".join(provider["capabilities"]),
            )
            for provider in found
        ),
    )


def health(session: Session) -> None:
    """Whether a call can be served. Exit code 4 when it cannot."""
    found = session.client.system.health()
    if session.out.as_json:
        session.out.value(found)
    else:
        for name, check in found["checks"].items():
            session.out.line(f"{name:<12}", Text(check, "green" if check == "ok" else "red"))
    if found["status"] != "ready":
        away = ", ".join(name for name, check in found["checks"].items() if check != "ok")
        raise UnavailableError(f"Not ready: {away}.")
