"""What the vault reads from its environment."""

from pathlib import Path

from pydantic import Field, SecretStr

from services.vault.keks.ring import Ring
from shared.clock import Clock
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """``vault_identity_file``: base64 of 32 bytes, the same for every replica (``shared.sealing.VaultIdentity``).

    ``vault_reverify_hours``: how often a provider is asked whether it still accepts a key; 0: never.
    The KEKs come from the first three, of which at least one is needed; ``services.vault.keks.lines`` has their forms.
    """

    ai_encryption_key: SecretStr | None = None
    vault_keks_file: Path | None = None
    ai_encryption_key_previous: SecretStr | None = None
    vault_identity_file: Path
    vault_reverify_hours: float = Field(default=24, ge=0, le=8760)

    def ring(self, clock: Clock) -> Ring:
        """The KEKs. Raises OmniError ``invalid_request`` when there is none, or one is weak or wrong."""
        return Ring(
            _text(self.ai_encryption_key),
            _text(self.ai_encryption_key_previous),
            self.vault_keks_file,
            clock,
            production=self.omnipost_env == "production",
        )


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
