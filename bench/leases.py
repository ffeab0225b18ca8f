"""Leases per second of one vault process, and the CPU each costs it."""

import asyncio
import time

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.processes import cpu_s
from bench.standin import router
from shared import sealing
from shared.bus import Bus
from shared.messages.vault import KeysV1, LeaseKeyV1, LeaseV1, ListKeysV1
from shared.messages.vocabulary import Modality
from shared.testing.stack import Stack

CONCURRENCY = 32


async def leases(stack: Stack, count: int) -> None:
    """Lease the first key of workspace 1 ``count`` times, as a router does that remembers nothing."""
    async with router(stack) as bus:
        request = await _request(bus)
        await _ask(bus, request, count // 10)
        before, began = cpu_s(stack), time.perf_counter()
        await _ask(bus, request, count)
        spent, after = time.perf_counter() - began, cpu_s(stack)
    vault, database = (1000 * (after[part] - before[part]) / count for part in ("vault", "postgres"))
    print(f"leases_per_s={count / spent:.0f} cpu_ms_per_lease={vault:.3f} postgres_ms_per_lease={database:.3f}")


async def _request(bus: Bus) -> LeaseKeyV1:
    key = (await bus.request(ListKeysV1(workspace_id=1), KeysV1)).items[0]
    return LeaseKeyV1(
        router_id="bench",
        public_key=sealing.encode(X25519PrivateKey.generate().public_key().public_bytes_raw()),
        workspace_id=1,
        key_id=key.id,
        host=key.host,
        scope=Modality.TEXT,
    )


async def _ask(bus: Bus, request: LeaseKeyV1, count: int) -> None:
    remaining = iter(range(count))

    async def worker() -> None:
        for _ in remaining:
            await bus.request(request, LeaseV1)

    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
