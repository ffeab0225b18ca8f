"""What every command has: the common options, a client, an output; and how a failure ends it."""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from omnipost.cli import explaining
from omnipost.cli.output import EXIT_BROKEN_PIPE, Output, leave_broken_pipe
from omnipost.client import Client
from omnipost.errors import OmniPostError

_PANEL = "Common options"
Json = Annotated[
    bool, typer.Option("--json", help="JSON for programs: an object, or one a line.", rich_help_panel=_PANEL)
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Where OmniPost is [OMNIPOST_URL; the local stack].", rich_help_panel=_PANEL),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the access token [OMNIPOST_TOKEN].", rich_help_panel=_PANEL),
]
Workspace = Annotated[
    int | None,
    typer.Option(
        "--workspace", "-w", min=1, help="Which one [OMNIPOST_WORKSPACE; the token's].", rich_help_panel=_PANEL
    ),
]
AllowHttp = Annotated[
    bool, typer.Option("--allow-http", help="Send the token in clear to another machine.", rich_help_panel=_PANEL)
]


class WrongUsageError(OmniPostError):
    """The command cannot be carried out as it was typed."""

    code = "usage"


@dataclass(frozen=True, slots=True)
class Common:
    """The options of every command."""

    as_json: bool
    url: str | None
    token_file: Path | None
    workspace: int | None
    allow_http: bool

    def client(self) -> Client:
        """A client as they say. Raises NotConfiguredError."""
        token = None if self.token_file is None else text_of(self.token_file)
        return Client(self.url, token, workspace_id=self.workspace, allow_http=self.allow_http)


@dataclass(frozen=True, slots=True)
class Session:
    """A command under way."""

    client: Client
    out: Output

    @property
    def workspace(self) -> int:
        """The workspace that was named. Raises WrongUsageError."""
        if self.client.workspace_id is None:
            raise WrongUsageError("Say which workspace: --workspace NUMBER, or OMNIPOST_WORKSPACE.")
        return self.client.workspace_id


_ANNOTATIONS: dict[str, Any] = {
    "as_json": Json,
    "url": Url,
    "token_file": TokenFile,
    "workspace": Workspace,
    "allow_http": AllowHttp,
}
_DEFAULTS = {"as_json": False, "url": None, "token_file": None, "workspace": None, "allow_http": False}
_COMMON = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[name], annotation=annotation)
    for name, annotation in _ANNOTATIONS.items()
]
F = TypeVar("F", bound=Callable[..., None])


def command(app: typer.Typer, name: str) -> Callable[[F], F]:
    """Make a function that takes a Session and options of its own a command of ``app``, with the common options."""

    def register(function: F) -> F:
        own = list(inspect.signature(function).parameters.values())[1:]

        def run(**given: Any) -> None:  # noqa: ANN401 - whatever the command's options are
            common = Common(**{option: given.pop(option) for option in _ANNOTATIONS})
            raise typer.Exit(_ended(common, lambda session: function(session, **given)))

        run.__signature__ = inspect.Signature([*own, *_COMMON])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in own} | _ANNOTATIONS
        run.__doc__ = function.__doc__
        app.command(name)(run)
        return function

    return register


def _ended(common: Common, act: Callable[[Session], None]) -> int:
    out = Output(as_json=common.as_json)
    try:
        with common.client() as client:
            act(Session(client, out))
        sys.stdout.flush()
    except BrokenPipeError:
        leave_broken_pipe()
        return EXIT_BROKEN_PIPE
    except (OmniPostError, OSError, ValueError) as caught:
        error = caught if isinstance(caught, OmniPostError) else _wrong_usage(caught)
        out.failure(explaining.problem(error), explaining.lines(error))
        return explaining.exit_code(error)
    return 0


def _wrong_usage(error: OSError | ValueError) -> WrongUsageError:
    if isinstance(error, OSError):
        place = error.filename2 or error.filename or "The file"
        return WrongUsageError(f"{place} cannot be used: {os.strerror(error.errno or 0)}.")
    return WrongUsageError(str(error))


def text_of(path: Path) -> str:
    """What a file holds, ``-`` being stdin. Raises WrongUsageError."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsageError(f"{path} cannot be read ({type(error).__name__}); name another file.") from None


def secret(what: str, path: Path | None) -> str:
    """A secret from a file, from stdin, or typed without echo; never from the command line."""
    if path is None and not sys.stdin.isatty():
        path = Path("-")
    text = text_of(path) if path else str(typer.prompt(what, hide_input=True, err=True))
    if not (text := text.strip()):
        raise WrongUsageError(f"No {what} was given; type it, pipe it in, or name a file that holds it.")
    return text


def certain(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone. Raises WrongUsageError, or typer.Abort when the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsageError(f"{question} Say so with --yes: nobody can be asked here.")
    typer.confirm(question, abort=True, err=True)
