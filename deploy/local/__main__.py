"""``python -m deploy.local``: the local stack in the foreground, until SIGINT or SIGTERM."""

import argparse
import asyncio
import os
import shlex
import signal
import sys

from deploy.local import settings as environment
from deploy.local.edge import EdgeRefused
from deploy.local.home import Home, open_home, write_private
from deploy.local.processes import stop_with_parent
from deploy.local.registration import FAILOVER_ALIAS, WORKSPACE, register
from deploy.local.settings import CannotStart, Settings
from deploy.local.stack import Stack, say
from shared.clock import SystemClock

# `make` passes a signal on that its whole process group has got already: that is one request to stop, not two.
ECHO_S = 1.0


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP: the first stops the stack, one more hurries it."""

    def __init__(self, hurry: asyncio.Event) -> None:
        self._loop, self._hurry, self._first_at = asyncio.get_running_loop(), hurry, 0.0
        self.stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._loop.add_signal_handler(number, self._take)

    def _take(self) -> None:
        if not self.stop.is_set():
            self._first_at = self._loop.time()
            self.stop.set()
        elif self._loop.time() - self._first_at > ECHO_S:
            self._hurry.set()


async def live(settings: Settings, home: Home, began: float) -> int:
    """Run the stack until a signal; the exit code. ``began``: when the command was given (monotonic seconds)."""
    clock = SystemClock()
    stack = Stack(settings, home, clock)
    interrupts = Interrupts(stack.hurry)
    starting = asyncio.ensure_future(stack.start())
    stopping = asyncio.ensure_future(interrupts.stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await _introduce(stack, settings, home, starting.result())
            say(f"ready in {clock.monotonic() - began:.1f} s")
            await stopping
        say("stopping …")
    except CannotStart as trouble:
        print(trouble, file=sys.stderr, flush=True)
        return 1
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        home.url_file.unlink(missing_ok=True)
        await stack.stop()
    return 0


async def _introduce(stack: Stack, settings: Settings, home: Home, sandbox_port: int) -> None:
    write_private(home.url_file, f"http://127.0.0.1:{settings.port}\n", durable=False)
    token = shlex.quote(str(home.admin_token))
    body = f'{{"workspace_id": {WORKSPACE}, "alias_name": "{FAILOVER_ALIAS}", "prompt": "Hello, OmniPost!"}}'
    say(f"OmniPost AI      http://127.0.0.1:{settings.port}")
    say(f"admin token in   {home.admin_token}")
    try:
        await asyncio.to_thread(register, stack.edge, sandbox_port)
    except EdgeRefused as refused:
        say(f"the sandbox provider could not be registered: {refused}")
        return
    say("try a simulated call that fails over twice:")
    say(
        f"  curl -sS http://127.0.0.1:{settings.port}/ai-invoke "
        f'-H "Authorization: Bearer $(cat {token})" -H "Content-Type: application/json" '
        f"-d {shlex.quote(body)}"
    )


def main() -> int:
    """The exit code of ``make run``."""
    clock = SystemClock()
    arguments = argparse.ArgumentParser(prog="python -m deploy.local")
    arguments.add_argument("--began", type=float, default=clock.monotonic(), help=argparse.SUPPRESS)
    began = arguments.parse_args().began
    os.umask(0o077)
    try:
        settings = environment.read()
        if settings.under_make:
            stop_with_parent(signal.SIGTERM)
        home, lock = open_home(settings.home)
    except CannotStart as trouble:
        print(trouble, file=sys.stderr)
        return 1
    try:
        return asyncio.run(live(settings, home, began))
    finally:
        os.close(lock)


if __name__ == "__main__":
    sys.exit(main())
