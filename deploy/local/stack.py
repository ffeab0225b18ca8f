"""The order of things: what the stack starts, when it is ready, and how it stops again."""

import asyncio
import signal
from contextlib import suppress
from urllib.parse import urlsplit

from deploy import streams
from deploy.local import guests, leftovers, nats, postgres, programs, schema
from deploy.local.child import Child, Program
from deploy.local.edge import Edge
from deploy.local.home import Home, is_free
from deploy.local.programs import SERVICES, Wiring
from deploy.local.secret_files import ensure, nkey, seed_file
from deploy.local.settings import CannotStart, Settings
from shared.clock import Clock
from shared.permissions import OPERATOR
from shared.schemas import database_of

READY_S = 90.0
LISTENS_S = 15.0
POLL_S = 0.05
LOOK_AT_STORE_S = 1.0
LOG_LINES = 15
# Who is asked to stop, and until how many seconds after the signal the next ones wait. The edge and the router finish
# the calls in flight (the edge a little ahead, so that it still finds a router); those that settle them stop last.
HEAD_START_S = 0.5
STOPPING = (
    (("api", "router"), 13.5),
    (("metering", "vault", "sandbox"), 16.0),
    (("nats", "postgres"), 18.5),
)


def say(line: str) -> None:
    """One line on the console, at once."""
    print(line, flush=True)


class Stack:
    """All processes of one home. ``start`` once, then ``stop``, whatever happened in between."""

    def __init__(self, settings: Settings, home: Home, clock: Clock) -> None:
        self._settings, self._home, self._clock = settings, home, clock
        self._children: dict[str, Child] = {}
        self._taken = {settings.port}
        self._watching: list[asyncio.Task[None]] = []
        self.hurry = asyncio.Event()

    @property
    def edge(self) -> Edge:
        """The stack's own edge, as its admin."""
        return Edge(self._settings.port, self._home.admin_token.read_text().strip())

    async def start(self) -> int:
        """Start everything; returns the sandbox's port once a call can be served. Raises CannotStart."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        await leftovers.stop_remaining(self._home)
        if not is_free(self._settings.port):
            raise CannotStart(f"Port {self._settings.port} is in use; set OMNIPOST_PORT to a free one.")
        ensure(self._home, SERVICES)
        wiring = self._wiring(await self._database())
        # Services take longest to load and wait for what they need: they come first.
        for name in SERVICES:
            self._run(programs.service(wiring, name))
        self._run(programs.sandbox(wiring))
        if self._settings.nats_url is None:
            self._run(self._nats(wiring))
            self._watching.append(asyncio.create_task(self._watch_store()))
        await _listens("NATS", wiring.nats_url, 4222)
        await self._keep_streams(wiring.nats_url)
        await _listens("PostgreSQL", wiring.database_url, 5432)
        await schema.ensure(self._home, wiring.database_url, self._settings.inherited)
        await self._until_ready()
        return wiring.sandbox_port

    async def stop(self) -> None:
        """End everything that was started; done within 20 seconds."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for names, until_s in STOPPING:
            stopping = []
            for name in names:
                if name in self._children:
                    child = self._children[name]
                    stopping.append(asyncio.ensure_future(child.stop(began + until_s, self.hurry)))
                    if name == "api":
                        await asyncio.wait(stopping, timeout=HEAD_START_S)
            await asyncio.gather(*stopping)
        (self._home.path / "run" / "started.json").unlink(missing_ok=True)

    def _run(self, program: Program) -> None:
        child = self._children[program.name] = Child(program, self._home, self._clock, say)
        child.start()

    def _reap(self) -> None:
        for child in self._children.values():
            child.reap()

    async def _keep_streams(self, url: str) -> None:
        settings = self._settings
        seed = settings.nats_operator_seed if settings.nats_url else seed_file(self._home, OPERATOR)
        if seed is None and settings.nkeys_dir is not None:
            say("OMNIPOST_NATS_OPERATOR_SEED_FILE is not set, so the streams must be there already.")
            say(streams.instructions())
            return
        keeper = streams.Keeper(url, seed, say)
        await keeper.begin(LISTENS_S)
        self._watching.append(asyncio.create_task(keeper.keep()))

    async def _watch_store(self) -> None:
        store = nats.Store(self._home)
        while True:
            await asyncio.sleep(LOOK_AT_STORE_S)
            if store.is_lost():
                say("nats has lost its files; starting it again")
                self._children["nats"].kill()

    def _port(self, name: str) -> int:
        port = self._home.kept_port(name, self._taken)
        self._taken.add(port)
        return port

    async def _database(self) -> str:
        if self._settings.database_url is not None:
            try:
                database_of(self._settings.database_url)
            except ValueError as error:
                raise CannotStart(f"{error}.") from None
            return self._settings.database_url
        server = postgres.find(self._home, self._port("postgres"), self._settings.inherited)
        await server.prepare()
        self._run(server.program())
        return server.url()

    def _wiring(self, database_url: str) -> Wiring:
        settings = self._settings
        embedded = settings.nats_url is None
        return Wiring(
            settings=settings,
            secrets=self._home.secrets,
            admin_token=self._home.admin_token,
            nats_url=settings.nats_url or f"nats://127.0.0.1:{self._port('nats')}",
            nkeys=self._home.secrets if embedded else settings.nkeys_dir,
            database_url=database_url,
            sandbox_port=self._port("sandbox"),
        )

    def _nats(self, wiring: Wiring) -> Program:
        users = {**nats.users_of(self._home), **guests.users(self._home)}
        port = urlsplit(wiring.nats_url).port or 0
        return nats.program(self._home, users, nkey(self._home, OPERATOR), port, self._settings.inherited)

    async def _until_ready(self) -> None:
        deadline = self._clock.monotonic() + READY_S
        while (trouble := await asyncio.to_thread(self.edge.trouble)) is not None or not self._children[
            "api"
        ].is_running:
            if self._clock.monotonic() > deadline:
                self._show_logs()
                raise CannotStart(
                    f"Not ready after {READY_S:.0f} s: {trouble or 'another process answers on our port'}"
                )
            await asyncio.sleep(POLL_S)

    def _show_logs(self) -> None:
        for name in self._children:
            say(f"--- {self._home.log_file(name)}")
            for line in self._home.tail(name, LOG_LINES):
                say(f"    {line}")


async def _listens(what: str, url: str, default_port: int) -> None:
    parts = urlsplit(url.partition(",")[0])
    if parts.hostname is None:  # a socket or a service name: the first client will tell
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LISTENS_S
    while True:
        with suppress(OSError, TimeoutError):
            _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, parts.port or default_port), 5)
            writer.close()
            return
        if loop.time() > deadline:
            raise CannotStart(f"{what} does not listen at {parts.hostname}:{parts.port or default_port}.")
        await asyncio.sleep(0.02)
