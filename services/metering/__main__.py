"""``python -m services.metering``."""

from services.metering.app import start
from shared import runtime

runtime.main(start)
