"""A provider of traces for tests, and what it has been told."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler


class Traces:
    """A provider that keeps all spans, and reads them back by name."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._spans = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.tracer = self.provider.get_tracer("the test")

    def all(self) -> Sequence[ReadableSpan]:
        """All spans that have ended."""
        return self._spans.get_finished_spans()

    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted(span.name for span in self.all())

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of one name, in the order in which they began."""
        return sorted((span for span in self.all() if span.name == name), key=lambda span: span.start_time or 0)

    def one(self, name: str) -> ReadableSpan:
        """The only span of a name."""
        (span,) = self.named(name)
        return span

    def forget(self) -> None:
        """Forgets them."""
        self._spans.clear()


def trace_of(span: ReadableSpan) -> str:
    """Its trace, as the wire has it."""
    return f"{span.context.trace_id:032x}"


def id_of(span: ReadableSpan) -> str:
    """Its id, as the wire has it."""
    return f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    """The id of its parent."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    """Its attributes, without the prefix that all have."""
    return {name.removeprefix("durabletask."): value for name, value in (span.attributes or {}).items()}
