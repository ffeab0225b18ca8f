"""The edge's settings."""

from pathlib import Path

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """``token_pepper_file``: base64 of 32 bytes. ``admin_token_file``: the platform admin's bearer token.

    ``omnipost_allowed_private_hosts``: comma list of ``host`` or ``host:port`` that webhooks may point to.
    """

    omnipost_host: str = "127.0.0.1"
    omnipost_port: int = 8080
    token_pepper_file: Path
    admin_token_file: Path | None = None
    vault_public_file: Path
    omnipost_allowed_private_hosts: str = ""
