"""``python -m deploy.local.guests``: NATS credentials for OmniPost's other services (``make guest``).

A guest may call, stream, cancel and hear events in the workspaces it is given, and nothing else. Its seed is made once,
mode 0600, below ``secrets/``; who may do what is in ``secrets/guests.json``. A running embedded NATS is told at once.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from deploy.local import nats
from deploy.local import settings as environment
from deploy.local.home import Home, write_private
from deploy.local.secret_files import ensure_seed, nkey, seed_file
from deploy.local.settings import CannotStart, Settings
from shared.permissions import Permissions, guest_user, permissions_of_guest

GUESTS = "guests.json"


def known(home: Home) -> dict[str, list[int]]:
    """Every guest's workspaces. Raises CannotStart when the file has been damaged."""
    file = home.secrets / GUESTS
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CannotStart(f"{file} is damaged: it must be a JSON object of names and workspaces.")
    for name, numbers in found.items():
        if not isinstance(numbers, list) or not all(isinstance(number, int) and number > 0 for number in numbers):
            raise CannotStart(f"{file}: the workspaces of {name} must be positive numbers.")
    return found


def users(home: Home) -> Mapping[str, Permissions]:
    """Permissions of every guest, by public nkey."""
    return {nkey(home, guest_user(name)): permissions_of_guest(name, numbers) for name, numbers in known(home).items()}


def give(home: Home, name: str, workspaces: Sequence[int]) -> None:
    """Let ``name`` into exactly ``workspaces``; into none: take its credentials away. Raises CannotStart."""
    if not home.secrets.is_dir():
        raise CannotStart(f"There is no stack in {home.path}; start one with make run first.")
    guests = known(home)
    try:
        user = guest_user(name)
    except ValueError as error:
        raise CannotStart(str(error)) from None
    if workspaces:
        ensure_seed(home, user)
        guests[name] = sorted(set(workspaces))
    elif guests.pop(name, None) is None:
        raise CannotStart(f"There is no service '{name}' to take anything from.")
    write_private(home.secrets / GUESTS, json.dumps(guests))
    if not workspaces:
        seed_file(home, user).unlink(missing_ok=True)


def tell_nats(home: Home) -> bool:
    """Let a running embedded server read its users again; False when none runs."""
    if not nats.rewrite(home, users(home)):
        return False
    with suppress(OSError, ValueError):
        os.kill(int(home.pid_file("nats").read_text()), signal.SIGHUP)
        return True
    return False


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make guest", description="NATS credentials for another OmniPost service.")
    parser.add_argument("name", nargs="?", help="1 to 32 of a-z, 0-9 and '-'; none: list them")
    parser.add_argument("--workspaces", default="", help="numbers with commas; empty: take the credentials away")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise CannotStart("WORKSPACES must be positive numbers with commas between them, such as 1,7.")
    return numbers


def _act(settings: Settings, home: Home, name: str, workspaces: Sequence[int]) -> None:
    try:
        give(home, name, workspaces)
    finally:
        # An earlier run may have died before it told the server, and then there is nothing left to give or take.
        told = tell_nats(home)
    when = "at once" if told else "at the next start"
    if not workspaces:
        print(f"{name} has no access any more, {when}")
        return
    print(f"{name} may call in workspaces {', '.join(map(str, sorted(set(workspaces))))}, {when}; its seed is in")
    print(f"  {seed_file(home, guest_user(name))}")
    if settings.nats_url:
        row = permissions_of_guest(name, workspaces)
        print("NATS_URL is set: add this user to that server's configuration:")
        print(nats.user_block(nkey(home, guest_user(name)), row))


def main() -> int:
    """The exit code of ``make guest``."""
    arguments = _arguments()
    try:
        settings = environment.read()
        home = Home(settings.home)
        if arguments.name is None:
            for name, numbers in sorted(known(home).items()):
                print(f"{name}: workspaces {', '.join(map(str, numbers))}")
            return 0
        _act(settings, home, arguments.name, _numbers(arguments.workspaces))
    except (CannotStart, OSError) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
