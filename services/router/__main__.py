"""``python -m services.router``: run one router process."""

from services.router.app import start
from shared import runtime

if __name__ == "__main__":
    runtime.main(start)
