"""What both clients offer alike: every group of requests, and the same for another workspace."""

import copy
from typing import Generic, Self

from omnipost.asking import A_co
from omnipost.groups import Aliases, Budgets, Keys, UsageReports
from omnipost.groups_admin import Providers, System, Tokens, Webhooks, Workspaces
from omnipost.settings import Settings


class Everything(Generic[A_co]):
    """Groups of requests that are asked by ``asker``: the client itself."""

    def __init__(self, asker: A_co, settings: Settings, retries: int) -> None:
        self._settings, self._retries = settings, retries
        workspace_id = settings.workspace_id
        self.keys: Keys[A_co] = Keys(asker, workspace_id)
        self.aliases: Aliases[A_co] = Aliases(asker, workspace_id)
        self.usage: UsageReports[A_co] = UsageReports(asker, workspace_id)
        self.budgets: Budgets[A_co] = Budgets(asker, workspace_id)
        self.tokens: Tokens[A_co] = Tokens(asker, workspace_id)
        self.workspaces: Workspaces[A_co] = Workspaces(asker, workspace_id)
        self.webhooks: Webhooks[A_co] = Webhooks(asker, workspace_id)
        self.providers: Providers[A_co] = Providers(asker, workspace_id)
        self.system: System[A_co] = System(asker, workspace_id)

    @property
    def url(self) -> str:
        """Where it asks."""
        return self._settings.url

    @property
    def workspace_id(self) -> int | None:
        """Which workspace it means; None: the token's own."""
        return self._settings.workspace_id

    def for_workspace(self, workspace_id: int) -> Self:
        """The same connections and token, for another workspace; only the first client is closed."""
        other = copy.copy(self)
        settings = Settings(self._settings.url, self._settings.token, workspace_id)
        Everything.__init__(other, other, settings, self._retries)
        return other
