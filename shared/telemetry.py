"""One trace across all hops. Names of spans and attributes live here and nowhere else.

Every call has a W3C trace context from the edge on, so the call log can name its trace. Spans are only made
when a collector is configured; without one a hop costs a context variable and a header.

GenAI names: OpenTelemetry semantic conventions for generative AI, as of 2026-11.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

TRACEPARENT = "traceparent"
PROVIDER = "gen_ai.provider.name"
OPERATION = "gen_ai.operation.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
HTTP_STATUS = "http.response.status_code"
OUTCOME = "omnipost.outcome"
CALL_ID = "omnipost.call_id"
ATTEMPT_ID = "omnipost.attempt_id"

_UNSAMPLED = TraceFlags(0)
_Attributes = Mapping[str, str | int | bool | float]


class Telemetry:
    """Makes spans when ``endpoint`` (OTLP over HTTP) is given, and only carries the context when it is None."""

    def __init__(self, service: str, endpoint: str | None) -> None:
        self._tracer: trace.Tracer | None = None
        self._stop = _nothing
        if endpoint:
            self._connect(service, endpoint)

    def _connect(self, service: str, endpoint: str) -> None:
        # Imported only with a collector: the exporter costs every start 0.2 s.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        provider = TracerProvider(resource=Resource.create({"service.name": f"omnipost-{service}"}))
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=5)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
        self._tracer = provider.get_tracer("omnipost")
        self._stop = provider.shutdown

    @property
    def makes_spans(self) -> bool:
        """Whether there is a collector; without one a batch need not enter the trace of each of its messages."""
        return self._tracer is not None

    def stop(self) -> None:
        """Send what is left."""
        self._stop()

    @contextmanager
    def root(self, name: str, traceparent: str | None, attributes: _Attributes | None = None) -> Iterator[Span]:
        """The span of a request from outside: continues ``traceparent`` when that is valid, else starts a trace."""
        parent = parse_traceparent(traceparent) or (None if self._tracer else _fresh())
        with self._entered(name, SpanKind.SERVER, parent, attributes) as span:
            yield span

    @contextmanager
    def received(
        self,
        name: str,
        traceparent: str | None,
        kind: SpanKind = SpanKind.SERVER,
        attributes: _Attributes | None = None,
    ) -> Iterator[Span]:
        """The span of a message that arrived with ``traceparent``."""
        with self._entered(name, kind, parse_traceparent(traceparent), attributes) as span:
            yield span

    @contextmanager
    def span(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: _Attributes | None = None
    ) -> Iterator[Span]:
        """A child of the current span."""
        if self._tracer is None:
            yield trace.INVALID_SPAN
            return
        with (
            self._tracer.start_as_current_span(
                name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
            ) as span,
            _failure_marked(span),
        ):
            yield span

    @contextmanager
    def _entered(
        self, name: str, kind: SpanKind, parent: SpanContext | None, attributes: _Attributes | None
    ) -> Iterator[Span]:
        ambient = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else context.Context()
        token = context.attach(ambient)
        try:
            if self._tracer is None:
                yield trace.INVALID_SPAN
            else:
                with self.span(name, kind, attributes) as span:
                    yield span
        finally:
            context.detach(token)


def current_traceparent() -> str | None:
    """The W3C header for the next hop, None outside of any trace."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"


def current_trace_id() -> str | None:
    """32 hex digits, None outside of any trace."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else None


def parse_traceparent(header: str | None) -> SpanContext | None:
    """The context in a W3C ``traceparent``, None when it is missing or malformed."""
    if not header or len(header) != 55:
        return None
    try:
        version, trace_id, span_id, flags = header.split("-")
        parsed = SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
        )
    except ValueError:
        return None
    return parsed if version == "00" and len(trace_id) == 32 and parsed.is_valid else None


@contextmanager
def _failure_marked(span: Span) -> Iterator[None]:
    # The exception's message may hold anything, so only its type is recorded.
    try:
        yield
    except BaseException as error:
        span.set_attribute(ERROR_TYPE, type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
        raise


def _fresh() -> SpanContext:
    return SpanContext(
        int.from_bytes(secrets.token_bytes(16), "big") or 1,
        int.from_bytes(secrets.token_bytes(8), "big") or 1,
        is_remote=False,
        trace_flags=_UNSAMPLED,
    )


def _nothing() -> None:
    return None
