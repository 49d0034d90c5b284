"""What `vllm bench serve --save-result` writes, as far as a calibration needs it."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from servecast.errors import InputError, UnsupportedError
from servecast.profiler.benchmark_client import THINK_NS
from servecast.traces.arrivals import Constant, Gamma
from servecast.traces.quantities import MAX_ARRIVAL_NS
from servecast.traces.workload import Ints, Workload

Count = Annotated[int, Field(ge=1)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_HINT = "give files that `vllm bench serve --save-result` wrote"


class BenchResult(BaseModel):
    """One run of vLLM 0.32's serving benchmark. Lengths and failures are there where saved."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    completed: Count
    request_rate: Above0 | Literal["inf"]
    burstiness: Annotated[float, Field(gt=0)] = 1.0
    max_concurrency: Count | None = None
    total_input_tokens: Count
    total_output_tokens: Count
    mean_ttft_ms: Above0
    mean_tpot_ms: Above0
    failed: Annotated[int, Field(ge=0)] = 0
    ramp_up_strategy: str | None = None
    input_lens: tuple[int, ...] | None = None
    output_lens: tuple[int, ...] | None = None

    def pace(self) -> str:
        """How requests came, in words."""
        if self.max_concurrency is not None:
            return f"{self.max_concurrency} at a time"
        return "all at once" if self.request_rate == "inf" else f"{self.request_rate:g}/s"

    def workload(self, name: str, seed: int) -> Workload:
        """The requests of the run: its lengths where saved, else their means for all.

        Arrivals at a rate are drawn as the benchmark draws them, but from another seed.
        """
        prompts = _lengths(self.input_lens, self.total_input_tokens, self.completed)
        outputs = _lengths(self.output_lens, self.total_output_tokens, self.completed)
        arrivals = np.zeros(self.completed, np.int64)
        if self.request_rate != "inf":
            arrivals = self._arrival_ns(self.request_rate, np.random.default_rng(seed))
        think_ns = THINK_NS if self.max_concurrency else 0
        return Workload(name, arrivals, prompts, outputs, outputs, self.max_concurrency, think_ns)

    def _arrival_ns(self, rate_per_s: float, rng: np.random.Generator) -> Ints:
        """Gamma gaps, stretched so that the last request comes when the rate says."""
        process = Constant() if self.burstiness == inf else Gamma(self.burstiness**-0.5)
        elapsed = np.cumsum(process.gaps(self.completed, rng))
        last_ns = self.completed / rate_per_s * 1e9
        if last_ns > MAX_ARRIVAL_NS:
            raise InputError(f"request_rate is {rate_per_s:g}/s, and too low", hint=_HINT)
        return np.asarray(np.rint(elapsed * (last_ns / elapsed[-1])), dtype=np.int64)


def read_results(path: Path) -> list[BenchResult]:
    """The results of a file, one or (with --append-result) a line each.

    InputError where it holds anything else; UnsupportedError for runs that cannot be replayed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = [BenchResult.model_validate(each) for each in _documents(text)]
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}", hint=_HINT) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise InputError(f"`{path}`: {place}: {first['msg'].lower()}", hint=_HINT) from error
    except ValueError as error:
        raise InputError(f"`{path}` is no JSON: {error}", hint=_HINT) from error
    if not found:
        raise InputError(f"`{path}` is empty", hint=_HINT)
    for result in found:
        _require_replayable(path, result)
    return found


def _documents(text: str) -> list[object]:
    """JSON documents one after the other."""
    decoder, found, place = json.JSONDecoder(), list[object](), 0
    text = text.strip()
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        found.append(value)
        place += len(text[place:]) - len(text[place:].lstrip())
    return found


def _require_replayable(path: Path, result: BenchResult) -> None:
    if result.failed:
        raise InputError(
            f"`{path}`: {result.failed} requests failed, and their load is not in the figures",
            hint="repeat the run so that all requests succeed",
        )
    if result.ramp_up_strategy is not None:
        raise UnsupportedError(
            f"`{path}`: the rate was ramped up", hint="run at one rate or one concurrency"
        )
    if result.max_concurrency is not None and result.request_rate != "inf":
        raise UnsupportedError(
            f"`{path}` has both a request rate and a max concurrency",
            hint="run with one of them",
        )


def _lengths(saved: tuple[int, ...] | None, total: int, count: int) -> Ints:
    """The saved lengths, or the mean for all."""
    if saved is not None and len(saved) == count:
        return np.maximum(1, np.array(saved, dtype=np.int64))
    return np.full(count, max(1, round(total / count)), dtype=np.int64)
