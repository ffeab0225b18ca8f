"""The command ``omnipost``, put together."""

import typer

from omnipost.cli import admin, aliases, calls, keys, usage

# Locals of a traceback may hold the token or a key.
app = typer.Typer(
    name="omnipost",
    help="OmniPost AI on the command line. Exit codes: 2 wrong usage, 3 refused, 4 unavailable, 5 providers failed.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
calls.register(app)
usage.register(app)
admin.register(app)
for group, name in (
    (keys.app, "keys"),
    (aliases.app, "aliases"),
    (calls.app, "calls"),
    (admin.tokens, "tokens"),
    (admin.budgets, "budgets"),
):
    app.add_typer(group, name=name)


def main() -> int:
    """Run it; returns the exit code, or leaves with it."""
    app(prog_name="omnipost")
    return 0
