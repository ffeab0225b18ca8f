"""What can be asked, as values: one description of every request, for the blocking and for the async client. Pure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeAlias, TypeVar, overload
from urllib.parse import quote

T = TypeVar("T")
P = ParamSpec("P")
A_co = TypeVar("A_co", covariant=True)
# Groups have a method ``list``, which hides the builtin in their annotations.
Many: TypeAlias = list[T]
CONTROL_S = 60.0
"""How long an answer may keep us waiting between two bytes, of anything but calls."""


@dataclass(frozen=True)
class Ask(Generic[T]):
    """One request, and the type of its answer.

    Attributes:
        path: with every part of it quoted (``path_of``).
        query: what is None is left out.
        body: sent as JSON; None: no body. It may hold a key, so it is never shown.
        listed: the answer has ``items``, and ``next_cursor`` while there are more: all of them are fetched.
        read_s: seconds of silence after which the answer counts as lost.
        also: error statuses that are answers, too.
    """

    method: str
    path: str
    query: Mapping[str, object] = field(default_factory=dict)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    listed: bool = False
    read_s: float = CONTROL_S
    also: tuple[int, ...] = ()

    def given(self) -> dict[str, str]:
        """The query's fields that are set, as text."""
        return {name: str(value) for name, value in self.query.items() if value is not None}


def path_of(*parts: object) -> str:
    """``/ai-keys/<id>/verify`` of its parts, each quoted, so that no id can lead elsewhere. Raises ValueError."""
    if any(str(part) in {"", ".", ".."} for part in parts):
        raise ValueError("an id is missing")
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


def set_only(**fields: object) -> dict[str, object]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


class Asker(Protocol):
    """A blocking client."""

    def ask(self, ask: Ask[T]) -> T:
        """The answer. Raises OmniPostError."""


class AsyncAsker(Protocol):
    """An async client."""

    def ask(self, ask: Ask[T]) -> Awaitable[T]:
        """The answer, awaited. Raises OmniPostError."""


class Group(Generic[A_co]):
    """Requests that belong together, of one client; ``workspace_id`` None: the token's own."""

    def __init__(self, asker: A_co, workspace_id: int | None) -> None:
        self._asker, self._workspace_id = asker, workspace_id

    def _here(self, **fields: object) -> dict[str, object]:
        return {**set_only(workspace_id=self._workspace_id), **fields}


class operation(Generic[P, T]):  # noqa: N801 - it is used as a decorator
    """A method written once, as what it asks. Called it asks: a ``Client`` at once, an ``AsyncClient`` when awaited."""

    def __init__(self, build: Callable[Concatenate[Any, P], Ask[T]]) -> None:
        self._build = build
        update_wrapper(self, build)  # type: ignore[arg-type]

    @overload
    def __get__(self, place: None, owner: type) -> Self: ...
    @overload
    def __get__(self, place: Group[Asker], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, place: Group[AsyncAsker], owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, place: Group[Any] | None, owner: type) -> Any:
        """What can be called with the method's own arguments."""
        if place is None:
            return self

        def asked(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - T, or what can be awaited for it
            return place._asker.ask(self._build(place, *args, **kwargs))  # noqa: SLF001 - a part of Group

        return update_wrapper(asked, self._build)
