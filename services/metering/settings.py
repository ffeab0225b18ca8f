"""What metering reads from the environment."""

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """``metering_sweep_s``: seconds between two looks for reservations that have expired."""

    metering_sweep_s: float = Field(default=2.0, gt=0, le=60)
