"""Requests about who may come in and what is told to whom: tokens, workspaces, webhooks, providers."""

from collections.abc import Mapping, Sequence

from omnipost.asking import A_co, Ask, Group, Many, operation, path_of, set_only
from omnipost.shapes_admin import (
    Delivery,
    Health,
    NewToken,
    NewWorkspace,
    Provider,
    Retention,
    Rotated,
    Token,
    Webhook,
    Workspace,
)


class Tokens(Group[A_co]):
    """Access tokens of the workspace."""

    @operation
    def list(self) -> Ask[Many[Token]]:
        """Every token, masked, newest first."""
        return Ask("GET", "/ai-tokens", self._here(), listed=True)

    @operation
    def add(self, name: str, role: str = "member", *, expires_in_days: int | None = None) -> Ask[NewToken]:
        """A new token, shown in this answer and never again. ``role``: owner, admin, member or viewer."""
        body = self._here(name=name, role=role, **set_only(expires_in_days=expires_in_days))
        return Ask("POST", "/ai-tokens", body=body)

    @operation
    def revoke(self, token_id: str) -> Ask[None]:
        """Let nobody in with it any more."""
        return Ask("DELETE", path_of("ai-tokens", token_id))


class Workspaces(Group[A_co]):
    """Workspaces; all but retention and rotation is for platform admins."""

    @operation
    def list(self) -> Ask[Many[Workspace]]:
        """Every workspace."""
        return Ask("GET", "/ai-workspaces", listed=True)

    @operation
    def add(self, name: str, workspace_id: int | None = None) -> Ask[NewWorkspace]:
        """A new workspace with the default aliases."""
        return Ask("POST", "/ai-workspaces", body=set_only(id=workspace_id, name=name))

    @operation
    def remove(self, workspace_id: int) -> Ask[None]:
        """End it: its tokens and keys are revoked, and what they are encrypted with is destroyed."""
        return Ask("DELETE", path_of("ai-workspaces", workspace_id))

    @operation
    def rotate(self, workspace_id: int) -> Ask[Rotated]:
        """Give it a new data key, and encrypt its keys anew with it."""
        return Ask("POST", path_of("ai-workspaces", workspace_id, "dek-rotation"))

    @operation
    def retention(self, workspace_id: int) -> Ask[Retention]:
        """How long its call log and contents are kept."""
        return Ask("GET", path_of("ai-workspaces", workspace_id, "retention"))

    @operation
    def set_retention(self, /, workspace_id: int, **changes: int | bool | None) -> Ask[Retention]:
        """Change ``call_log_days``, ``store_content``, ``content_days`` or ``zero_retention``."""
        return Ask("PUT", path_of("ai-workspaces", workspace_id, "retention"), body=changes)


class Webhooks(Group[A_co]):
    """Where the workspace's events are sent."""

    @operation
    def list(self) -> Ask[Many[Webhook]]:
        """Every webhook, without its secret."""
        return Ask("GET", "/ai-webhooks", self._here(), listed=True)

    @operation
    def add(self, url: str, events: Sequence[str] | None = None) -> Ask[Webhook]:
        """A new one; ``secret`` is in this answer only. ``events`` left out: all."""
        return Ask("POST", "/ai-webhooks", body=self._here(url=url, **set_only(events=events)))

    @operation
    def change(self, /, webhook_id: str, **changes: object) -> Ask[Webhook]:
        """Change ``url``, ``events`` or ``enabled``, or ask for a ``new_secret``."""
        return Ask("PUT", path_of("ai-webhooks", webhook_id), body=changes)

    @operation
    def remove(self, webhook_id: str) -> Ask[None]:
        """Delete it, and what has not been sent to it."""
        return Ask("DELETE", path_of("ai-webhooks", webhook_id))

    @operation
    def test(self, webhook_id: str) -> Ask[Delivery]:
        """Send it a ``webhook.test``."""
        return Ask("POST", path_of("ai-webhooks", webhook_id, "test"))

    @operation
    def deliveries(
        self, webhook_id: str, *, before: int | None = None, limit: int | None = None
    ) -> Ask[Mapping[str, Many[Delivery]]]:
        """``items``: what was sent in the last 30 days, newest first; ``before``: only those with a lower ``seq``."""
        return Ask("GET", path_of("ai-webhooks", webhook_id, "deliveries"), {"before": before, "limit": limit})

    @operation
    def replay(self, webhook_id: str, delivery_id: str) -> Ask[Delivery]:
        """Send an event again."""
        return Ask("POST", path_of("ai-webhooks", webhook_id, "deliveries", delivery_id, "replay"))


class Providers(Group[A_co]):
    """The catalogue. Changing it is for platform admins."""

    @operation
    def list(self) -> Ask[Many[Provider]]:
        """Every provider with its models and prices."""
        return Ask("GET", "/ai-providers", listed=True)

    @operation
    def add(self, provider_id: str, base_url: str, models: Sequence[Mapping[str, object]] = ()) -> Ask[Provider]:
        """An OpenAI-compatible host."""
        body = {"id": provider_id, "kind": "openai-compatible", "base_url": base_url, "models": list(models)}
        return Ask("POST", "/ai-providers", body=body)

    @operation
    def change(self, /, provider_id: str, **changes: object) -> Ask[Provider]:
        """Change ``name``, ``base_url``, ``region`` or ``models``, also of a built-in one."""
        return Ask("PUT", path_of("ai-providers", provider_id), body=changes)


class System(Group[A_co]):
    """The system itself."""

    @operation
    def health(self) -> Ask[Health]:
        """Whether a call can be served end to end, and if not, what is missing."""
        return Ask("GET", "/readyz", read_s=10.0, also=(503,))
