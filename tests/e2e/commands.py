"""The command line as people run it: processes of their own, on pipes and on terminals."""

import asyncio
import json
import os
import pty
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.testing.stack import ROOT

LIMIT_S = 60.0


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one object it printed."""
        return json.loads(self.out)

    @property
    def values(self) -> list[Any]:
        """The objects it printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> Any:
        """The error it printed as JSON."""
        return json.loads(self.err)["error"]


@dataclass
class Line:
    """A command line with an environment of its own; keeps all it has said."""

    environment: Mapping[str, str]
    said: list[str] = field(default_factory=list)
    commands: set[str] = field(default_factory=set)

    async def start(self, *arguments: str, stdin: int = PIPE, stdout: int = PIPE, **more: Any) -> Process:
        """A command under way."""
        self.commands.add(" ".join(arguments[:2]))
        command = (sys.executable, "-m", "omnipost", *arguments)
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **self.environment}
        return await asyncio.create_subprocess_exec(
            *command, stdin=stdin, stdout=stdout, stderr=PIPE, env=environment, **more
        )

    async def run(self, *arguments: str, stdin: str = "") -> Ran:
        """A command, to its end."""
        process = await self.start(*arguments)
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate(stdin.encode())
        self.said += [out.decode(), err.decode()]
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def ok(self, *arguments: str, stdin: str = "") -> Ran:
        """A command that must work."""
        ran = await self.run(*arguments, stdin=stdin)
        assert ran.code == 0, f"omnipost {' '.join(arguments)}: {ran.code}\n{ran.out[-1500:]}\n{ran.err[-1500:]}"
        return ran

    async def on_terminal(self, *arguments: str, typed: str = "", after: str = "") -> tuple[int, str]:
        """Exit code and looks of a command on a terminal, where ``typed`` is typed once it has asked ``after``."""
        ours, theirs = pty.openpty()
        process = await self.start(*arguments, stdin=theirs, stdout=theirs, start_new_session=True)
        os.close(theirs)
        shown = bytearray()
        assert process.stderr is not None

        ended = asyncio.Event()

        def watch() -> None:
            # On Linux the end of a terminal is an error.
            with suppress(OSError):
                if chunk := os.read(ours, 65536):
                    shown.extend(chunk)
                    return
            asyncio.get_running_loop().remove_reader(ours)
            ended.set()

        asyncio.get_running_loop().add_reader(ours, watch)

        async def answer(stderr: asyncio.StreamReader) -> None:
            said = bytearray()
            while chunk := await stderr.read(65536):
                said.extend(chunk)
                if typed and after.encode() in said:
                    os.write(ours, typed.encode())
                    said.clear()
                shown.extend(chunk)

        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(ended.wait(), answer(process.stderr))
            code = await process.wait()
        os.close(ours)
        self.said.append(shown.decode(errors="replace"))
        return code, shown.decode(errors="replace")
