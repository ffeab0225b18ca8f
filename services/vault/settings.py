"""What the vault reads from its environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from services.vault.domain.keys import parse_secret
from services.vault.keks.ring import Ring
from shared.clock import Clock
from shared.errors import OmniError
from shared.settings import ServiceSettings


def _usable(given: SecretStr | None) -> SecretStr | None:
    # A variable that is there and empty is one that is not there.
    text = (_text(given) or "").strip()
    if not text:
        return None
    try:
        return SecretStr(parse_secret(text.encode()))
    except OmniError as error:
        raise ValueError(error.detail) from None


PlatformKey = Annotated[SecretStr | None, AfterValidator(_usable)]


class Settings(ServiceSettings):
    """``vault_identity_file``: base64 of 32 bytes, the same for every replica (``shared.sealing.VaultIdentity``).

    ``vault_reverify_hours``: how often a provider is asked whether it still accepts a key; 0: never.
    The KEKs come from the first three, of which at least one is needed; ``services.vault.keks.lines`` has their forms.
    ``openai_api_key`` and the like: the platform's own keys, for platform credits; they may go to their provider's
    usual host, and to those in ``omnipost_allowed_private_hosts`` (as of the router).
    """

    ai_encryption_key: SecretStr | None = None
    vault_keks_file: Path | None = None
    ai_encryption_key_previous: SecretStr | None = None
    vault_identity_file: Path
    vault_reverify_hours: float = Field(default=24, ge=0, le=8760)
    openai_api_key: PlatformKey = None
    anthropic_api_key: PlatformKey = None
    google_ai_api_key: PlatformKey = None
    omnipost_allowed_private_hosts: str = ""

    def ring(self, clock: Clock) -> Ring:
        """The KEKs. Raises OmniError ``invalid_request`` when there is none, or one is weak or wrong."""
        return Ring(
            _text(self.ai_encryption_key),
            _text(self.ai_encryption_key_previous),
            self.vault_keks_file,
            clock,
            production=self.omnipost_env == "production",
        )

    def platform_keys(self) -> Mapping[str, str]:
        """The platform's own keys that are given, by provider id."""
        given = {"openai": self.openai_api_key, "anthropic": self.anthropic_api_key, "google": self.google_ai_api_key}
        return {provider: key.get_secret_value() for provider, key in given.items() if key is not None}


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
