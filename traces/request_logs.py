"""Request logs: what a client or a server noted of real requests becomes a workload."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import numpy as np

from servecast.errors import InputError
from servecast.traces.files import open_text
from servecast.traces.workload import Workload

_HEAD_CHARS = 65_536


class LogKind(StrEnum):
    """Who writes a log."""

    VLLM = "vllm bench serve --save-detailed"
    AIPERF = "AIPerf"
    OPENTELEMETRY = "OpenTelemetry"
    GUIDELLM = "GuideLLM"
    INFERENCE_PERF = "inference-perf"


def _object_with(key: str) -> re.Pattern[str]:
    return re.compile(rf'\A\s*\{{.*"{key}"\s*:', re.DOTALL)


_TELLTALES = {
    LogKind.VLLM: _object_with("input_lens"),
    LogKind.AIPERF: _object_with("request_start_ns"),
    LogKind.OPENTELEMETRY: _object_with("resourceSpans"),
    LogKind.GUIDELLM: _object_with("benchmarks"),
    LogKind.INFERENCE_PERF: re.compile(r'\A\s*\[\s*\{\s*"start_time"\s*:'),
}


def log_kind(path: Path) -> LogKind | None:
    """Whose log the file is, told by its first characters; None for a trace or anything else."""
    with open_text(path) as text:
        head = text.read(_HEAD_CHARS)
    return next((kind for kind, telltale in _TELLTALES.items() if telltale.match(head)), None)


def read_log(path: Path, name: str, kind: LogKind, limit: int | None) -> Workload:
    """The requests of a log in the order in which they were sent, at most the first `limit`.

    Those that failed are counted, and left out. The whole file is held in memory. InputError where
    it is not what it began as.
    """
    from servecast.traces.log_documents import logged_requests

    with open_text(path) as text:
        found = list(logged_requests(path, text.read(), kind))
    answered = sorted((each for each in found if each is not None), key=lambda each: each.start_ns)
    if not answered:
        raise InputError(
            f"`{path}` has no answered request, {len(found)} failed", hint="take another log"
        )
    start_ns, inputs, outputs = np.array(answered[:limit], np.int64).T
    return Workload(
        name=name,
        arrival_ns=start_ns - start_ns[0],
        prompt_tokens=inputs,
        output_tokens=outputs,
        max_tokens=np.full_like(outputs, outputs.max()),
        failed=sum(each is None for each in found),
    )
