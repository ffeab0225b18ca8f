"""The command line ``omnipost``: the Python client on a terminal."""
