"""Run the vault: ``python -m services.vault``."""

from services.vault.app import start
from shared import runtime

runtime.main(start)
