"""The edge's settings."""

from pathlib import Path

from pydantic import Field

from services.api.domain.rates import Rates
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """``token_pepper_file``: base64 of 32 bytes. ``admin_token_file``: the platform admin's bearer token.

    ``rate_limit_token_…`` and ``rate_limit_workspace_…``: limits a minute where none are set; left out: no limit.
    ``omnipost_allowed_private_hosts``: comma list of ``host`` or ``host:port`` that webhooks may point to.
    """

    omnipost_host: str = "127.0.0.1"
    omnipost_port: int = 8080
    token_pepper_file: Path
    admin_token_file: Path | None = None
    vault_public_file: Path
    omnipost_allowed_private_hosts: str = ""
    rate_limit_token_requests: int | None = Field(default=None, ge=1)
    rate_limit_token_tokens: int | None = Field(default=None, ge=1)
    rate_limit_workspace_requests: int | None = Field(default=None, ge=1)
    rate_limit_workspace_tokens: int | None = Field(default=None, ge=1)

    @property
    def default_rates(self) -> dict[str, Rates]:
        """The limits of a ``token`` and of a ``workspace`` that have none of their own."""
        return {
            "token": Rates(self.rate_limit_token_requests, self.rate_limit_token_tokens),
            "workspace": Rates(self.rate_limit_workspace_requests, self.rate_limit_workspace_tokens),
        }
