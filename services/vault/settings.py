"""What the vault reads from its environment."""

from pathlib import Path

from pydantic import SecretStr

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """``vault_identity_file``: base64 of 32 bytes, the same for every replica (``shared.sealing.VaultIdentity``)."""

    ai_encryption_key: SecretStr
    vault_identity_file: Path
