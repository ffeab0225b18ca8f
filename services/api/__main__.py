"""``python -m services.api``: run one edge process."""

from services.api.app import start
from shared import runtime

if __name__ == "__main__":
    runtime.main(start)
