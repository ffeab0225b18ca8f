"""``python -m deploy.streams``: make the streams, buckets and consumers that the messages declare; ``--print`` them.

Only the deployment's own NATS user may do this (``shared/permissions.py``). The local stack does it at every start and
whenever one is missing; elsewhere a job runs this command before the services, with ``NATS_URL`` and
``OMNIPOST_NATS_OPERATOR_SEED_FILE``. To run it again changes nothing.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.client import JetStreamContext
from nats.js.errors import BadRequestError, ServerError

from deploy.local import settings as environment
from deploy.local.settings import CannotStart
from shared.messages import HINTS, RECORDS
from shared.messages.base import Hint
from shared.permissions import OPERATOR, inbox_prefix
from shared.records import ACK_WAIT_S, BATCH
from shared.settings import read_secret

MAX_AGE_S = 14 * 24 * 3600
DUPLICATE_WINDOW_S = 120.0
LOOK_EVERY_S = 1.0
ANSWERS_S = 5.0
_OTHER_CONFIGURATION = 10058  # JetStream: the stream's name is in use with a different configuration


@dataclass(frozen=True)
class Declared:
    """A stream, and how its one consumer reads it. ``lossy``: what it holds may be thrown away."""

    stream: StreamConfig
    consumer: ConsumerConfig | None = None
    lossy: bool = False

    @property
    def name(self) -> str:
        """The stream's name."""
        return str(self.stream.name)


def declared() -> tuple[Declared, ...]:
    """Everything there has to be, in order of name."""
    records = [_stream(name) for name in sorted({record.stream for record in RECORDS})]
    return (*records, *(_bucket(hint) for hint in HINTS))


def _stream(name: str) -> Declared:
    mine = [record for record in RECORDS if record.stream == name]
    subjects = sorted(record.subject for record in mine)
    stream = StreamConfig(
        name=name,
        subjects=subjects,
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        max_age=MAX_AGE_S,
        duplicate_window=DUPLICATE_WINDOW_S,
    )
    durable = mine[0].durable()
    consumer = ConsumerConfig(
        durable_name=durable,
        name=durable,
        filter_subjects=subjects,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=32 * BATCH,
    )
    return Declared(stream, consumer)


def _bucket(hint: type[Hint]) -> Declared:
    # On disk, although it may be lost: where a job made it once, a restart of the server must not take it for ever.
    stream = StreamConfig(
        name=f"KV_{hint.bucket}",
        subjects=[f"$KV.{hint.bucket}.>"],
        storage=StorageType.FILE,
        max_msgs_per_subject=1,
        max_age=hint.keep_s,
        discard=DiscardPolicy.NEW,
        allow_direct=True,
        allow_rollup_hdrs=True,
        deny_delete=True,
    )
    return Declared(stream, lossy=True)


async def connected(url: str, seed: Path | None) -> Client:
    """The operator's connection, which is not made again when it breaks. Raises NatsError, OSError."""
    return await nats.connect(
        url,
        nkeys_seed_str=None if seed is None else read_secret(seed),
        inbox_prefix=inbox_prefix(OPERATOR),
        name="omnipost-operator",
        allow_reconnect=False,
        connect_timeout=2,
        error_cb=_quiet,
    )


async def ensure(client: Client) -> list[str]:
    """Make what is missing and mend what differs; returns the names of what was missing. Raises NatsError."""
    context = client.jetstream(timeout=ANSWERS_S)
    return [item.name for item in declared() if await _ensure(context, item)]


async def _ensure(context: JetStreamContext, item: Declared) -> bool:
    missing = await _missing(context, item)
    try:
        await context.add_stream(item.stream)
    except BadRequestError as error:
        if error.err_code != _OTHER_CONFIGURATION:
            raise
        await _mend(context, item)
    if item.consumer is not None:
        await context.add_consumer(item.name, item.consumer)
    return missing


async def _mend(context: JetStreamContext, item: Declared) -> None:
    """Bring an existing stream to its declaration; its replicas are its operator's choice."""
    existing = (await context.stream_info(item.name)).config
    wanted = item.stream.evolve(num_replicas=existing.num_replicas, placement=existing.placement)
    try:
        await context.update_stream(wanted)
    except (BadRequestError, ServerError):
        if not item.lossy:
            raise
        await context.delete_stream(item.name)
        await context.add_stream(wanted)


async def _missing(context: JetStreamContext, item: Declared) -> bool:
    try:
        await context.stream_info(item.name)
        if item.consumer is not None:
            await context.consumer_info(item.name, str(item.consumer.durable_name))
    except nats.js.errors.NotFoundError:
        return True
    return False


class Keeper:
    """Sees to it that everything declared is there, for as long as it is kept. ``say``: one line for the console."""

    def __init__(self, url: str, seed: Path | None, say: Callable[[str], None]) -> None:
        self._url, self._seed, self._say = url, seed, say
        self._client: Client | None = None

    async def begin(self, within_s: float) -> None:
        """Make everything. Raises CannotStart when it cannot be made within ``within_s`` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while True:
            try:
                await ensure(await self._connection())
            except (NatsError, OSError, TimeoutError) as error:
                if loop.time() > deadline:
                    raise CannotStart(f"{_reason(error)}\n{instructions()}") from None
                await asyncio.sleep(0.05)
            else:
                return

    async def keep(self) -> None:
        """Look every second, until cancelled."""
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                # Without a server there is nothing to make; whoever supervises it says so.
                with suppress(NatsError, OSError, TimeoutError):
                    await self._look()
        finally:
            if self._client is not None:
                await self._client.close()

    async def _look(self) -> None:
        client = await self._connection()
        context = client.jetstream(timeout=ANSWERS_S)
        missing = [item for item in declared() if await _missing(context, item)]
        for item in missing:
            await _ensure(context, item)
            self._say(f"{item.name} was missing; it has been made again")

    async def _connection(self) -> Client:
        if self._client is None or not self._client.is_connected:
            if self._client is not None:
                await self._client.close()
            self._client = await connected(self._url, self._seed)
        return self._client


def instructions() -> str:
    """What to type at the ``nats`` tool to make it all by hand."""
    lines = [
        "JetStream must have these; the nats tool makes them so (`-` in --config is a file with the JSON behind #):"
    ]
    for item in declared():
        stream = json.dumps(item.stream.as_dict())
        lines.append(f"nats stream add {item.name} --config -   # {stream}")
        if item.consumer is not None:
            consumer = json.dumps(item.consumer.as_dict())
            lines.append(f"nats consumer add {item.name} {item.consumer.durable_name} --config -   # {consumer}")
    return "\n".join(lines)


def _reason(error: Exception) -> str:
    said = getattr(error, "description", None) or str(error) or type(error).__name__
    return (
        f"The streams cannot be made: {said}. Is JetStream enabled, and is OMNIPOST_NATS_OPERATOR_SEED_FILE the seed "
        "of the user that may make them?"
    )


async def _quiet(error: Exception) -> None:
    # What matters is raised as well.
    del error


async def _once(url: str, seed: Path | None) -> list[str]:
    client = await connected(url, seed)
    try:
        return await ensure(client)
    finally:
        await client.close()


def main(arguments: list[str]) -> int:
    """The exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.streams")
    parser.add_argument("--print", action="store_true", help="print the declaration and change nothing")
    if parser.parse_args(arguments).print:
        print(instructions())
        return 0
    try:
        settings = environment.read()
        made = asyncio.run(_once(settings.nats_url or "nats://127.0.0.1:4222", settings.nats_operator_seed))
    except CannotStart as trouble:
        print(trouble, file=sys.stderr)
    except (NatsError, OSError, TimeoutError) as error:
        print(f"{_reason(error)}\n{instructions()}", file=sys.stderr)
    else:
        print(f"streams: {', '.join(item.name for item in declared())}; made: {', '.join(made) or 'none'}")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
