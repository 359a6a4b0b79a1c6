"""Exporting spans of an engine that is a process of its own, as OpenTelemetry's variables ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


@contextmanager
def exported_spans(complain: Callable[[str], None]) -> Generator[TracerProvider | None, None, None]:
    """Exports spans while the context is open, if the environment names an endpoint; what is left goes out at its end.

    The exporter reads the rest of OpenTelemetry's variables itself: headers, certificates, sampling, the resource.

    Args:
        complain: Told in a sentence what is missing.

    Yields:
        The provider to tell of spans, or None.
    """
    variable = _asked_by(os.environ)
    provider = None if variable is None else _provider(variable, complain)
    try:
        yield provider
    finally:
        if provider is not None:
            provider.shutdown()


def _asked_by(environment: Mapping[str, str]) -> str | None:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    return next((name for name in _ENDPOINTS if environment.get(name)), None)


def _provider(variable: str, complain: Callable[[str], None]) -> TracerProvider | None:
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), "http/protobuf")
    package = f"opentelemetry-exporter-otlp-proto-{'grpc' if protocol == 'grpc' else 'http'}"
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(protocol)
    except ImportError:
        complain(
            f"{variable} asks for traces, which needs packages that are not installed: "
            f"pip install 'dapr-workflow-sdk[otel]' {package}"
        )
        return None
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "dapr-workflow"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter(protocol: str) -> SpanExporter:
    if protocol == "grpc":
        from importlib import import_module

        exporters = import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
        made: SpanExporter = exporters.OTLPSpanExporter()
        return made
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
