"""How every service process begins and ends: no core dumps, uvloop, one signal handler, a bounded graceful stop."""

import asyncio
import ctypes
import gc
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import pydantic
import uvloop

from shared import failpoints, logs
from shared.errors import OmniError, faults_of, invalid
from shared.messages.base import Service
from shared.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)

GRACE_S = 12.0
_PR_SET_DUMPABLE = 4


def load_settings(kind: type[S], service: Service) -> S:
    """Read a service's settings from its environment and start its logs.

    Raises OmniError ``invalid_request`` naming the variables that are missing or wrong, never their values.
    """
    try:
        settings = kind()
    except pydantic.ValidationError as error:
        logs.configure(service, "info")
        faults = faults_of(error.errors(include_input=False, include_url=False))
        named = "; ".join(f"{fault['field'].upper()}: {fault['problem']}" for fault in faults)
        raise invalid(f"The environment of the {service} service is not right: {named}.") from None
    logs.configure(service, settings.log_level)
    failpoints.arm_from(settings.omnipost_failpoints_dir if settings.omnipost_env == "local" else None)
    return settings


class App(Protocol):
    """A started service."""

    async def stop(self, grace_s: float) -> None:
        """Finish what is in flight within ``grace_s`` seconds and release everything."""
        ...


class Stop:
    """Asked for by a signal, or by the service itself when it cannot go on (exit code 1, to be restarted)."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.exit_code = 0

    def request(self, exit_code: int = 0) -> None:
        """End the process soon."""
        self.exit_code = self.exit_code or exit_code
        self._event.set()

    def give_up(self) -> None:
        """End with an error, so that the supervisor starts a fresh process."""
        self.request(1)

    async def wait(self) -> None:
        """Return once somebody asked."""
        await self._event.wait()


def main(start: Callable[[Stop], Awaitable[App]]) -> None:
    """Run a service until SIGTERM or SIGINT. Never returns."""
    forbid_core_dumps()
    gc.freeze()
    gc.enable()
    sys.exit(uvloop.run(_live(start)))


def forbid_core_dumps() -> None:
    """Plaintext keys live in memory, which therefore must never reach a disk or another user's debugger."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


async def _live(start: Callable[[Stop], Awaitable[App]]) -> int:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.request)
    starting = asyncio.ensure_future(start(stop))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return stop.exit_code
    try:
        app = starting.result()
    except Exception as error:  # noqa: BLE001 - an uncaught one would be printed with its message
        stopping.cancel()
        _say_why(error)
        return 1
    await stopping
    await app.stop(GRACE_S)
    return stop.exit_code


def _say_why(error: Exception) -> None:
    # Errors of our own say what to do and hold no secret; of all others only the type is safe to print.
    reason = error.detail if isinstance(error, OmniError) else None
    logs.get().error("cannot start", reason=reason, exc=error)
