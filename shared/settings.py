"""Settings come from the environment, once, here and in each service's ``settings.py``. Nothing else reads it."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """What every service needs. Secrets arrive as files, so that no process environment holds one needlessly."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True, frozen=True)

    nats_url: str = Field(default="nats://127.0.0.1:4222", repr=False)
    nats_nkey_seed_file: Path | None = None
    database_url: str = Field(default="postgresql://127.0.0.1:5432/omnipost", repr=False)
    omnipost_env: Literal["local", "production"] = "local"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otel_exporter_otlp_endpoint: str | None = None
    # Only for tests, and only where ``omnipost_env`` is local (``shared/failpoints.py``).
    omnipost_failpoints_dir: Path | None = None


def read_secret(path: Path) -> str:
    """The text of a mounted secret, without surrounding white space. Raises OSError when it cannot be read."""
    return path.read_text(encoding="utf-8").strip()
