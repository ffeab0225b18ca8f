"""Requests about what a workspace has: keys, aliases, usage and budgets. The API's words: ``docs/api.md``."""

from collections.abc import Mapping, Sequence
from typing import Any

from omnipost.asking import A_co, Ask, Group, Many, operation, path_of, set_only
from omnipost.shapes import Alias, Budget, Explained, Key, Usage


class Keys(Group[A_co]):
    """Provider keys. ``limits``: ``monthly_budget_usd``, ``daily_budget_requests`` … (None removes one)."""

    @operation
    def list(self) -> Ask[Many[Key]]:
        """Every key, masked, oldest first."""
        return Ask("GET", "/ai-keys", self._here(), listed=True)

    @operation
    def add(
        self,
        /,
        provider: str,
        api_key: str,
        *,
        label: str | None = None,
        scopes: Sequence[str] | None = None,
        restrictions: Mapping[str, Sequence[str] | None] | None = None,
        **limits: float | None,
    ) -> Ask[Key]:
        """Store a key and verify it with the provider, at no cost. A refused one is stored with status ``invalid``."""
        about = set_only(label=label, scopes=_scopes(scopes), restrictions=restrictions)
        return Ask("POST", "/ai-keys", body=self._here(provider=provider, api_key=api_key, **about, **limits))

    @operation
    def get(self, key_id: str) -> Ask[Key]:
        """One key, masked."""
        return Ask("GET", path_of("ai-keys", key_id))

    @operation
    def change(
        self,
        /,
        key_id: str,
        *,
        label: str | None = None,
        scopes: Sequence[str] | None = None,
        restrictions: Mapping[str, Sequence[str] | None] | None = None,
        **limits: float | None,
    ) -> Ask[Key]:
        """Change what is named; what is left out stays."""
        about = set_only(label=label, scopes=_scopes(scopes), restrictions=restrictions)
        return Ask("PUT", path_of("ai-keys", key_id), body={**about, **limits})

    @operation
    def rotate(self, key_id: str, api_key: str) -> Ask[Key]:
        """Put another key of the same provider in its place, and verify it."""
        return Ask("PUT", path_of("ai-keys", key_id), body={"api_key": api_key})

    @operation
    def verify(self, key_id: str) -> Ask[Key]:
        """Ask the provider again whether it accepts the key."""
        return Ask("POST", path_of("ai-keys", key_id, "verify"))

    @operation
    def revoke(self, key_id: str) -> Ask[None]:
        """Revoke for good: calls under way with it are cut, and none starts any more."""
        return Ask("DELETE", path_of("ai-keys", key_id))


def _scopes(names: Sequence[str] | None) -> dict[str, bool] | None:
    return None if names is None else dict.fromkeys(names, True)


class Aliases(Group[A_co]):
    """Names for chains of targets. ``settings``: ``display_name``, ``capability``, ``time_limits`` and so on."""

    @operation
    def list(self) -> Ask[Many[Alias]]:
        """Every alias, by name."""
        return Ask("GET", "/ai-aliases", self._here(), listed=True)

    @operation
    def add(self, /, alias_name: str, targets: Sequence[str], **settings: object) -> Ask[Alias]:
        """An alias whose chain is ``targets``, each ``provider/model``, in the order they are tried."""
        return Ask("POST", "/ai-aliases", body=self._here(alias_name=alias_name, **chain(targets), **settings))

    @operation
    def get(self, alias_id: str) -> Ask[Alias]:
        """One alias."""
        return Ask("GET", path_of("ai-aliases", alias_id))

    @operation
    def change(self, /, alias_id: str, targets: Sequence[str] | None = None, **settings: object) -> Ask[Alias]:
        """Change what is named; ``targets`` replace the whole chain."""
        return Ask("PUT", path_of("ai-aliases", alias_id), body={**(chain(targets) if targets else {}), **settings})

    @operation
    def remove(self, alias_id: str) -> Ask[None]:
        """Remove it; its calls stay in the log."""
        return Ask("DELETE", path_of("ai-aliases", alias_id))

    @operation
    def explain(self, /, alias_id: str, **question: object) -> Ask[Explained]:
        """What a call would try in which order, and what it would cost; calls nobody.

        ``question``: ``prompt``, ``messages`` or ``input``, and ``options``; all may be left out.
        """
        return Ask("POST", path_of("ai-aliases", alias_id, "explain"), body=question)


def chain(targets: Sequence[str]) -> dict[str, Any]:
    """``provider/model`` texts as the API's fields. Raises ValueError for one without a slash, or none at all."""
    pairs = [target.partition("/") for target in targets]
    if not pairs or not all(provider and model for provider, _, model in pairs):
        raise ValueError("a target is written provider/model, for example openai/gpt-4o; give at least one")
    (first, _, model), *rest = pairs
    fallbacks = [{"provider": one, "model": name, "priority": place} for place, (one, _, name) in enumerate(rest, 1)]
    return {"primary_provider": first, "primary_model": model, "fallback_chain": fallbacks}


class UsageReports(Group[A_co]):
    """What was used."""

    @operation
    def report(self, *, since: str | None = None, until: str | None = None, group_by: str | None = None) -> Ask[Usage]:
        """Totals, groups, errors, fallbacks, forecast and budgets of [since, until): ISO dates or instants, UTC.

        ``group_by``: provider, alias, model, key, capability, outcome, day or hour.
        """
        return Ask("GET", "/ai-usage", self._here(**{"from": since, "to": until, "group_by": group_by}))


class Budgets(Group[A_co]):
    """Budgets of the workspace and of its keys."""

    @operation
    def list(self) -> Ask[Many[Budget]]:
        """Every budget as it stands."""
        return Ask("GET", "/ai-budgets", self._here(), listed=True)

    @operation
    def change(self, /, *, funds: str = "own", **limits: float | None) -> Ask[Any]:
        """Change limits of the workspace as a whole (``monthly_budget_usd`` …; None removes one)."""
        return Ask("PUT", "/ai-budgets/workspace", body=self._here(funds=funds, **limits))

    @operation
    def resume(self, key_id: str | None = None, *, funds: str = "own") -> Ask[Any]:
        """Admit calls again on a halted budget: a key's, or without ``key_id`` the workspace's."""
        return Ask("POST", "/ai-budgets/resume", body=self._here(**set_only(key_id=key_id), funds=funds))
