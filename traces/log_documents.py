"""The JSON documents of a request log, read and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from servecast.errors import InputError
from servecast.traces.benchmark_logs import (
    AiperfLog,
    GuidellmLog,
    InferencePerfLog,
    Logged,
    VllmLog,
)
from servecast.traces.otel_spans import OtelLog
from servecast.traces.quantities import MAX_ARRIVAL_NS, MAX_TOKENS
from servecast.traces.request_logs import LogKind

_Document = (
    type[VllmLog] | type[AiperfLog] | type[OtelLog] | type[GuidellmLog] | type[InferencePerfLog]
)
_DOCUMENTS: dict[LogKind, _Document] = {
    LogKind.VLLM: VllmLog,
    LogKind.AIPERF: AiperfLog,
    LogKind.OPENTELEMETRY: OtelLog,
    LogKind.GUIDELLM: GuidellmLog,
    LogKind.INFERENCE_PERF: InferencePerfLog,
}
_BLANK = re.compile(r"\s*")


def logged_requests(path: Path, text: str, kind: LogKind) -> Iterator[Logged | None]:
    """Each request in the text of a log, None for one that failed.

    InputError where the text is not what it began as; `path` is for the message.
    """
    for number, document in enumerate(_documents(path, text, kind), start=1):
        try:
            for each in _DOCUMENTS[kind].model_validate(document).requests():
                _require_counts(path, each)
                yield each
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "it"
            raise _no_log(path, kind, f"document {number}: {place}: {first['msg']}") from error


def _documents(path: Path, text: str, kind: LogKind) -> Iterator[object]:
    """JSON documents one after the other, fractions kept as written."""
    decoder = json.JSONDecoder(parse_float=Decimal)
    place = len(text) - len(text.lstrip())
    while place < len(text):
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, place) + 1
            raise _no_log(path, kind, f"line {line} is no JSON: {error}") from error
        yield value
        blank = _BLANK.match(text, end)
        place = blank.end() if blank else end


def _require_counts(path: Path, request: Logged | None) -> None:
    if request is None:
        return
    start_ns, *tokens = request
    if not 0 <= start_ns <= MAX_ARRIVAL_NS or min(tokens) < 1 or max(tokens) > MAX_TOKENS:
        raise InputError(
            f"`{path}` has a request of {tokens[0]} and {tokens[1]} tokens sent at {start_ns} ns",
            hint=f"tokens are from 1 to {MAX_TOKENS}, times from 0 to {MAX_ARRIVAL_NS} ns",
        )


def _no_log(path: Path, kind: LogKind, why: str) -> InputError:
    return InputError(f"`{path}` begins as a log of {kind}: {why}", hint="write it again")
