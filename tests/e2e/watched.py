"""A stack whose spans arrive at a collector of ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared.testing.stack import Stack
from shared.testing.upstream import Answer, Upstream
from tests.e2e.world import World, connected

TRACES = "/v1/traces"


class Watched:
    """A stack, a platform admin on it, and the ``collector`` its services send their spans to."""

    def __init__(self, stack: Stack, world: World, collector: Upstream) -> None:
        self.stack, self.world, self.collector = stack, world, collector

    def spans(self) -> list[dict[str, str]]:
        """Every span so far: service, name, ids in hex."""
        found = []
        for request in self.collector.requests:
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                names = [item.value.string_value for item in resource.resource.attributes if item.key == "service.name"]
                found += [
                    {
                        "service": names[0].removeprefix("omnipost-"),
                        "name": span.name,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                    }
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
        return found


@asynccontextmanager
async def watch(home: Path, log_level: str) -> AsyncIterator[Watched]:
    """A stack in ``home``, stopped at the end. ``log_level``: as in ``LOG_LEVEL``."""
    async with Upstream() as collector:
        collector.always("POST", TRACES, Answer())
        environment = {
            "OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.base_url,
            "LOG_LEVEL": log_level,
        }
        stack = await asyncio.to_thread(Stack.start, home, environment=environment)
        try:
            async with connected(stack) as world:
                yield Watched(stack, world, collector)
        finally:
            await asyncio.to_thread(stack.stop)
