"""What benchmark clients write of each request that they sent, as far as it can be sent again.

vLLM: `vllm bench serve --save-result --save-detailed` (vllm/benchmarks/serve.py of 0.32). AIPerf:
`profile_export.jsonl` (ai-dynamo/aiperf, its guide to exports). GuideLLM: `benchmarks.json`
(vllm-project/guidellm, schemas/request_stats.py). inference-perf: the report of its requests,
`per_request_lifecycle_metrics.json` (kubernetes-sigs/inference-perf, reportgen/base.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, RootModel, model_validator

from servecast.traces.quantities import NS_PER_S


class Logged(NamedTuple):
    """A request that was sent and answered."""

    start_ns: int
    input_tokens: int
    output_tokens: int


class Log(BaseModel):
    """One JSON document of a log; what it has besides is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def logged(
    start_s: Decimal | None, input_tokens: int | None, output_tokens: int | None
) -> Logged | None:
    """A request from seconds and counts; None for one that was not answered with a token."""
    if start_s is None or not input_tokens or not output_tokens:
        return None
    return Logged(round(start_s * NS_PER_S), input_tokens, output_tokens)


class VllmLog(Log):
    """All requests of a run, as columns; the output of one that failed has 0 tokens."""

    input_lens: Sequence[int]
    output_lens: Sequence[int]
    start_times: Sequence[Decimal]

    @model_validator(mode="after")
    def _alike(self) -> Self:
        lengths = {len(self.input_lens), len(self.output_lens), len(self.start_times)}
        if len(lengths) > 1:
            raise ValueError("input_lens, output_lens and start_times are not as many")
        return self

    def requests(self) -> Iterator[Logged | None]:
        """Each request, None where it failed."""
        columns = (self.start_times, self.input_lens, self.output_lens)
        return (logged(*row) for row in zip(*columns, strict=True))


class _Metadata(Log):
    """When AIPerf sent a request."""

    request_start_ns: int


class _Count(Log):
    """A number of tokens."""

    value: int


class _Metrics(Log):
    """The token counts of a request, absent where it failed."""

    input_sequence_length: _Count | None = None
    output_sequence_length: _Count | None = None


class AiperfLog(Log):
    """One request of AIPerf."""

    metadata: _Metadata
    metrics: _Metrics
    error: object = None

    def requests(self) -> Iterator[Logged | None]:
        """The request, None where it failed or was cancelled."""
        sent, said = self.metrics.input_sequence_length, self.metrics.output_sequence_length
        if self.error is not None or sent is None or said is None:
            yield None
        else:
            start_s = Decimal(self.metadata.request_start_ns) / NS_PER_S
            yield logged(start_s, sent.value, said.value)


class _GuidellmRequest(Log):
    """A request that GuideLLM counts as successful."""

    request_start_time: Decimal | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class _GuidellmRequests(Log):
    """The requests of one benchmark by how they ended."""

    successful: Sequence[_GuidellmRequest]
    errored: Sequence[object] = ()
    incomplete: Sequence[object] = ()


class _GuidellmBenchmark(Log):
    """One load that GuideLLM put on a server."""

    requests: _GuidellmRequests


class GuidellmLog(Log):
    """The benchmarks of one command, one after the other."""

    benchmarks: Sequence[_GuidellmBenchmark]

    def requests(self) -> Iterator[Logged | None]:
        """Each request, None for those with an error or cut off by the end."""
        for benchmark in self.benchmarks:
            found = benchmark.requests
            for each in found.successful:
                yield logged(each.request_start_time, each.prompt_tokens, each.output_tokens)
            yield from [None] * (len(found.errored) + len(found.incomplete))


class _Response(Log):
    """What newer releases of inference-perf say of an answer."""

    output_tokens: int | None = None


class _Info(Log):
    """The token counts of a request."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    response_metrics: _Response | None = None


class _Lifecycle(Log):
    """One request of inference-perf."""

    start_time: Decimal
    info: _Info | None = None
    error: object = None


class InferencePerfLog(RootModel[Sequence[_Lifecycle]]):
    """The requests of a run; newer releases have the output in `info.response_metrics`."""

    def requests(self) -> Iterator[Logged | None]:
        """Each request, None where it failed."""
        for each in self.root:
            info = each.info
            if each.error is not None or info is None:
                yield None
                continue
            newer = info.response_metrics and info.response_metrics.output_tokens
            yield logged(each.start_time, info.input_tokens, newer or info.output_tokens)
