"""``python -m omnipost``: the command line."""

import sys

from omnipost.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
