"""The router's settings."""

from pathlib import Path

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """``omnipost_allowed_private_hosts``: comma list of ``host`` or ``host:port`` that base URLs may point to."""

    vault_public_file: Path
    omnipost_allowed_private_hosts: str = ""
