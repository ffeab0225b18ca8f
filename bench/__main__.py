"""``make bench``: CPU by service; calls, chunks, leases, reservations and settlements per second; added latency.

Everything is on that is on by default: authentication, budgets (the key has a cap in all three units), metering.
Figures depend on the machine; ratios are against the static provider called directly in the same run.
"""

import asyncio
import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import streams
from bench.leases import leases
from bench.ledger import ledger
from bench.load import Target, closed_loop, paired, percentile
from bench.processes import cpu_s, rss_mb
from bench.scaling import growth, scaling
from shared.testing.stack import Stack

CONCURRENCIES = (1, 16, 64, 256)
SLOW_S = 0.05
BODY = (
    b'{"workspace_id": 1, "alias_name": "bench", "prompt": "Write a post about rain.", "options": {"max_tokens": 80}}'
)
STREAMED = BODY.replace(b'{"workspace_id"', b'{"stream":true, "workspace_id"')
DIRECT = b'{"model": "bench", "messages": [{"role": "user", "content": "Write a post about rain."}], "max_tokens": 80}'
DIRECT_STREAM = DIRECT.replace(b'{"model"', b'{"stream":true, "model"')


@contextmanager
def provider(delay_s: float, pause_s: float = 0.0) -> Iterator[int]:
    """A static provider in a process of its own; gives its port."""
    command = [sys.executable, "-m", "bench.provider", str(delay_s), str(pause_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def ask(stack: Stack, method: str, path: str, body: dict[str, Any]) -> None:
    """A control request."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    headers = {"authorization": f"Bearer {stack.admin_token}", "content-type": "application/json"}
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status >= 300:
        raise RuntimeError(text)


def prepare(stack: Stack, port: int, provider_id: str, alias_name: str) -> None:
    """A provider at ``port``, a capped key and an alias in workspace 1."""
    model = {"id": "bench", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    base_url = f"http://127.0.0.1:{port}/v1"
    ask(stack, "POST", "/ai-providers", {"id": provider_id, "base_url": base_url, "models": [model]})
    caps = {"monthly_budget_usd": 1e6, "monthly_budget_tokens": 10**12, "monthly_budget_requests": 10**9}
    key = {"workspace_id": 1, "provider": provider_id, "label": "bench", "api_key": "sk-bench-0123456789abcdef"}
    ask(stack, "POST", "/ai-keys", key | caps)
    alias = {"workspace_id": 1, "alias_name": alias_name, "primary_provider": provider_id, "primary_model": "bench"}
    ask(stack, "POST", "/ai-aliases", alias)


async def throughput(stack: Stack, target: Target, calls: int) -> None:
    """Calls per second and CPU by part at each concurrency."""
    await closed_loop(target, 16, calls // 10)
    for concurrency in CONCURRENCIES:
        before = cpu_s(stack)
        spent = await closed_loop(target, concurrency, calls)
        await asyncio.sleep(1.5)  # the ledger settles behind the answers, and that CPU belongs to them
        after = cpu_s(stack)
        by_part = {part: 1000 * (after[part] - before[part]) / calls for part in after}
        split = " ".join(f"{part}={cost:.3f}" for part, cost in by_part.items())
        total = sum(by_part.values())
        print(f"concurrency={concurrency} calls_per_s={calls / spent:.0f} cpu_ms_per_call={total:.3f} {split}")


async def added_latency(targets: list[Target], rounds: int) -> None:
    """What the stack adds at 50 calls a second, measured in turns with direct calls."""
    direct, through = await paired(targets, 50, rounds)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        plain, ours = 1000 * percentile(direct, share), 1000 * percentile(through, share)
        print(f"added_{name}_ms={ours - plain:.2f} direct_{name}_ms={plain:.2f} through_{name}_ms={ours:.2f}")


async def run(stack: Stack, fast_port: int, slow_port: int, *, full: bool) -> None:
    """Every measurement."""
    prepare(stack, fast_port, "bench", "bench")
    prepare(stack, slow_port, "bench-slow", "bench-slow")
    through = Target.post(stack.port, "/ai-invoke", BODY, stack.admin_token)
    direct = Target.post(fast_port, "/v1/chat/completions", DIRECT, "sk-bench")
    idle = rss_mb(stack)
    await throughput(stack, through, 5000 if full else 1000)
    await added_latency([direct, through], 1000 if full else 250)
    stream = Target.post(stack.port, "/ai-invoke", STREAMED, stack.admin_token)
    await streams.throughput(stack, stream, 1000 if full else 200)
    direct_stream = Target.post(fast_port, "/v1/chat/completions", DIRECT_STREAM, "sk-bench")
    await streams.first_chunk(direct_stream, stream, 500 if full else 100)
    await leases(stack, 5000 if full else 1000)
    slow = Target.post(stack.port, "/ai-invoke", BODY.replace(b'"bench"', b'"bench-slow"'), stack.admin_token)
    await scaling(stack, slow, 4000 if full else 1000)
    await growth(stack, through, 200_000 if full else 3000)
    await ledger(stack, 40_000 if full else 8000)
    used = rss_mb(stack)
    split = " ".join(f"{part}={size:.0f}" for part, size in used.items())
    print(f"stack_rss_mb={sum(used.values()):.0f} idle_rss_mb={sum(idle.values()):.0f} {split}")


def main() -> None:
    """Run against a stack of its own, which is stopped afterwards."""
    full = "--full" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, provider(0.0) as fast_port, provider(SLOW_S) as slow_port:
        stack = Stack.start(Path(folder) / "home", environment={"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"})
        try:
            print(stack.ready_line)
            asyncio.run(run(stack, fast_port, slow_port, full=full))
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
