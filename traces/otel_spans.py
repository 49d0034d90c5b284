"""OpenTelemetry's spans of model calls, as OTLP's JSON: one object, or one a line.

Token counts are the attributes of the conventions for generative AI, under their names of today or
their former ones, which vLLM's own spans have (vllm/tracing/utils.py of 0.32). Sources: OTLP's JSON
encoding and file exporter, and the registry of GenAI attributes, on opentelemetry.io.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from servecast.traces.benchmark_logs import Log, Logged

_INPUTS = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUTS = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_OPERATION = "gen_ai.operation.name"
_GENERATING = ("chat", "text_completion", "generate_content")
"""Operations that are one request; the usage of an agent's is the sum of several."""
_ERROR = (2, "2", "STATUS_CODE_ERROR")


class _Value(Log):
    """An attribute's value, where it is a whole number or a text."""

    intValue: int | None = None
    stringValue: str | None = None


class _Attribute(Log):
    """A named value of a span."""

    key: str
    value: _Value = _Value()


class _Status(Log):
    """How a span ended."""

    code: int | str = 0


class _Span(Log):
    """Something that took time, such as a call of a model."""

    start_ns: int = Field(alias="startTimeUnixNano")
    attributes: Sequence[_Attribute] = ()
    status: _Status = _Status()


class _ScopeSpans(Log):
    """The spans of one library."""

    spans: Sequence[_Span] = ()


class _ResourceSpans(Log):
    """The spans of one service."""

    scope_spans: Sequence[_ScopeSpans] = Field((), alias="scopeSpans")


class OtelLog(Log):
    """Spans of one export, among them those of model calls."""

    resource_spans: Sequence[_ResourceSpans] = Field(alias="resourceSpans")

    def requests(self) -> Iterator[Logged | None]:
        """Each call of a model, None where it failed."""
        for resource in self.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    if _is_request(span):
                        yield _request(span)


def _is_request(span: _Span) -> bool:
    operations = [each.value.stringValue for each in span.attributes if each.key == _OPERATION]
    return operations[0] in _GENERATING if operations else bool(_count(span, _INPUTS))


def _request(span: _Span) -> Logged | None:
    sent, said = _count(span, _INPUTS), _count(span, _OUTPUTS)
    if span.status.code in _ERROR or not sent or not said:
        return None
    return Logged(span.start_ns, sent, said)


def _count(span: _Span, names: Sequence[str]) -> int | None:
    found = {each.key: each.value.intValue for each in span.attributes if each.key in names}
    return next((found[name] for name in names if found.get(name) is not None), None)
