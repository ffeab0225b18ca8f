"""Who may do what: one table for every route, and the rule that a workspace's token reaches no other workspace."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.api.domain.rates import NO_RATES, Rates
from shared.errors import Code, OmniError
from shared.messages.custody import ActorV1


class Role(StrEnum):
    """What a token's bearer is. A platform admin belongs to no workspace and reaches all."""

    PLATFORM_ADMIN = "platform_admin"
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class Action(StrEnum):
    """What a route does."""

    READ_KEYS = "read_keys"
    WRITE_KEYS = "write_keys"
    READ_ALIASES = "read_aliases"
    WRITE_ALIASES = "write_aliases"
    INVOKE = "invoke"
    READ_USAGE = "read_usage"
    READ_CATALOGUE = "read_catalogue"
    WRITE_CATALOGUE = "write_catalogue"
    WRITE_WORKSPACES = "write_workspaces"
    WRITE_TOKENS = "write_tokens"
    READ_AUDIT = "read_audit"
    ROTATE_DATA_KEYS = "rotate_data_keys"
    ROTATE_MASTER_KEYS = "rotate_master_keys"
    READ_WEBHOOKS = "read_webhooks"
    WRITE_WEBHOOKS = "write_webhooks"
    RECONCILE = "reconcile"
    WRITE_RETENTION = "write_retention"
    READ_CONTENT = "read_content"
    SETTLE_LETTERS = "settle_letters"
    WRITE_BUDGETS = "write_budgets"
    GRANT_CREDITS = "grant_credits"
    LIMIT_WORKSPACES = "limit_workspaces"
    SWITCH_CREDITS = "switch_credits"


_PLATFORM = frozenset({Role.PLATFORM_ADMIN})
_OWNERS = _PLATFORM | {Role.OWNER}
_ADMINS = _OWNERS | {Role.ADMIN}
_MEMBERS = _ADMINS | {Role.MEMBER}
_EVERYONE = _MEMBERS | {Role.VIEWER}

ALLOWED: Mapping[Action, frozenset[Role]] = {
    Action.READ_KEYS: _EVERYONE,
    Action.WRITE_KEYS: _ADMINS,
    Action.READ_ALIASES: _EVERYONE,
    Action.WRITE_ALIASES: _ADMINS,
    Action.INVOKE: _MEMBERS,
    Action.READ_USAGE: _EVERYONE,
    Action.READ_CATALOGUE: _EVERYONE,
    Action.WRITE_CATALOGUE: _PLATFORM,
    Action.WRITE_WORKSPACES: _PLATFORM,
    Action.WRITE_TOKENS: _OWNERS,
    Action.READ_AUDIT: _ADMINS,
    Action.ROTATE_DATA_KEYS: _OWNERS,
    Action.ROTATE_MASTER_KEYS: _PLATFORM,
    Action.READ_WEBHOOKS: _ADMINS,
    Action.WRITE_WEBHOOKS: _ADMINS,
    Action.RECONCILE: _ADMINS,
    Action.WRITE_RETENTION: _OWNERS,
    Action.READ_CONTENT: _ADMINS,
    Action.SETTLE_LETTERS: _PLATFORM,
    Action.WRITE_BUDGETS: _ADMINS,
    Action.GRANT_CREDITS: _PLATFORM,
    Action.LIMIT_WORKSPACES: _PLATFORM,
    Action.SWITCH_CREDITS: _ADMINS,
}


@dataclass(frozen=True)
class Principal:
    """Who is asking. ``workspace_id`` None: a platform admin. ``token_id``: by which token; ``rates``: its limits."""

    role: Role
    workspace_id: int | None
    token_id: str = ""
    rates: Rates = NO_RATES

    def actor(self, address: str | None) -> ActorV1:
        """The principal as the audit names it; ``address``: the IP address the request came from."""
        return ActorV1(kind="token", id=self.token_id, role=self.role.value, address=address)

    def may(self, action: Action) -> None:
        """Raises OmniError ``forbidden`` unless the role allows ``action``."""
        if self.role not in ALLOWED[action]:
            raise OmniError(
                Code.FORBIDDEN,
                f"A {self.role.replace('_', ' ')} may not {action.replace('_', ' ')}; ask an owner of the workspace.",
                extra={"role": self.role.value, "action": action.value},
            )

    def reach(self, workspace_id: int | None) -> int:
        """The workspace a request is about: the one it names, else the token's own.

        Raises OmniError: ``forbidden`` for another workspace than the token's, ``invalid_request`` when a platform
        admin names none.
        """
        if self.workspace_id is None:
            if workspace_id is None:
                raise OmniError(Code.INVALID_REQUEST, "Say which workspace: 'workspace_id' is missing.")
            return workspace_id
        if workspace_id not in (None, self.workspace_id):
            raise OmniError(Code.FORBIDDEN, "This token belongs to another workspace.")
        return self.workspace_id


def token_hash(pepper: bytes, token: str) -> bytes:
    """What is stored of a token: HMAC-SHA256 under a key that is not in the database."""
    return hmac.new(pepper, token.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def masked_token(token: str) -> str:
    """How a token is shown in lists: its prefix and last four characters."""
    return f"{token[:5]}…{token[-4:]}"
