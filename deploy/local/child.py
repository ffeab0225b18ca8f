"""One supervised process: started, watched, started again when it dies, stopped gracefully."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deploy.local.home import Home, read_json, write_private
from deploy.local.processes import follow_parent, identity
from shared.clock import Clock
from shared.schemas import ROOT

HEALTHY_S = 5.0
LONGEST_DELAY_S = 2.0


@dataclass(frozen=True)
class Program:
    """What to run, and the signal that asks it to stop (also sent when the supervisor itself dies)."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM


def restart_delay(previous: float | None, lived_s: float) -> float:
    """Seconds to wait before a died process is started again: at once first, then 0.2 s doubling up to 2 s.

    ``previous``: the delay before the start that has just failed, None for the very first start.
    """
    if previous is None or lived_s >= HEALTHY_S:
        return 0.0
    return min(LONGEST_DELAY_S, max(0.2, previous * 2))


class Child:
    """Keeps ``program`` running. ``reap`` must be called on every SIGCHLD."""

    def __init__(self, program: Program, home: Home, clock: Clock, say: Callable[[str], None]) -> None:
        self.program = program
        self._home, self._clock, self._say = home, clock, say
        self._process: subprocess.Popen[bytes] | None = None
        self._exited = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    def start(self) -> None:
        """Start it and keep it running. Raises OSError when it cannot be executed at all."""
        self._home.rotate_log(self.name)
        self._spawn()
        self._keeping = asyncio.create_task(self._keep())

    @property
    def is_running(self) -> bool:
        """Whether the process lives right now."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it by force, at once; it is started again."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Notice that the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            self._exited.set()

    async def stop(self, deadline: float, hurry: asyncio.Event) -> None:
        """End it: gracefully until ``deadline`` (event loop time) or shortly after ``hurry``, then by force."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(self.program.stop_signal)
            await self._wait_for_exit(deadline, hurry)
            if process.poll() is None:
                self._say(f"{self.name} does not stop; killing it")
                os.killpg(process.pid, signal.SIGKILL)
                await self._exited.wait()
        self._home.pid_file(self.name).unlink(missing_ok=True)

    async def _wait_for_exit(self, deadline: float, hurry: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        exited, hurried = asyncio.ensure_future(self._exited.wait()), asyncio.ensure_future(hurry.wait())
        waiting = {exited, hurried}
        await asyncio.wait(waiting, timeout=max(0.0, deadline - loop.time()), return_when=asyncio.FIRST_COMPLETED)
        if not exited.done() and hurried.done():
            await asyncio.wait({exited}, timeout=1.0)
        for task in waiting:
            task.cancel()

    def _spawn(self) -> None:
        self._exited.clear()
        with self._home.log_file(self.name).open("ab") as log:
            self._process = subprocess.Popen(
                self.program.command,
                env=dict(self.program.environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=follow_parent(self.program.stop_signal),  # noqa: PLW1509 - system calls only, no locks
            )
        try:
            self._write_down(self._process.pid)
        except OSError as error:
            # It runs all the same: taking this for a failed start would start another one beside it.
            self._say(f"{self.name} runs, but its pid file cannot be written: {error.strerror}")
        self.reap()

    def _write_down(self, pid: int) -> None:
        write_private(self._home.pid_file(self.name), str(pid), durable=False)
        started = self._home.path / "run" / "started.json"
        known = read_json(started) | {self.name: [pid, identity(pid)]}
        write_private(started, json.dumps(known), durable=False)

    async def _keep(self) -> None:
        delay: float | None = None
        while True:
            began = self._clock.monotonic()
            await self._exited.wait()
            delay = restart_delay(delay, self._clock.monotonic() - began)
            self._say(f"{self.name} {self._how_it_ended()}; starting it again")
            await asyncio.sleep(delay)
            try:
                self._spawn()
            except OSError as error:
                self._say(f"{self.name} cannot be started: {error.strerror}")
                self._exited.set()

    def _how_it_ended(self) -> str:
        code = self._process.poll() if self._process is not None else None
        if code is None or code >= 0:
            return f"ended with code {code}"
        return f"was killed by {signal.Signals(-code).name}"
