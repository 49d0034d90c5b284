"""LLMServingSim's measured servers: a deployment, its workload, and what each request took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.primitives.catalogue import accelerator
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory import ledger
from servecast.profiler.lss_shapes import model_spec
from servecast.traces.readers import read
from servecast.traces.workload import Workload

if TYPE_CHECKING:
    from pandas import DataFrame

MODEL_LEN = 8192
"""Not recorded; longer than any request."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Latencies:
    """What requests took, in milliseconds, one element a request in order of arrival."""

    ttft_ms: Floats
    tpot_ms: Floats
    e2e_ms: Floats


@dataclass(frozen=True, slots=True)
class MeasuredServer:
    """One server of the set under its 300 requests."""

    deployment: Deployment
    workload: Workload
    latencies: Latencies
    states_blocks: bool
    """Whether its KV blocks were recorded; otherwise they are the memory ledger's."""


def measured_servers(folder: str | Path, traces: str | Path) -> list[MeasuredServer]:
    """The servers in `llmservingsim_vllm.csv` and `llmservingsim_requests.csv.gz` of a folder.

    `traces` is the folder of the traces that they were sent, which say which prompts begin alike.
    InputError where a file is missing, lacks a column, or names a GPU or model that is not known.
    """
    path = Path(folder).expanduser()
    servers = _read(path / "llmservingsim_vllm.csv")
    requests = _read(path / "llmservingsim_requests.csv.gz")
    found: list[MeasuredServer] = []
    try:
        for row in servers.to_dict("records"):
            told = {str(name): value for name, value in row.items()}
            gpu = str(told["gpu"]).split("-")[0]
            is_own = (requests["gpu"] == gpu) & (requests["model"] == str(told["model"]))
            own = requests[is_own].sort_values("arrival_s", kind="stable")
            found.append(_server(told, own, _sent(Path(traces), str(told["model"]))))
    except KeyError as error:
        raise InputError(
            f"the servers of LLMServingSim in `{path}` lack the column {error}",
            hint="give the files of its benchmark as published",
        ) from error
    return found


def _sent(traces: Path, model: str) -> Workload:
    """The trace that a model's server was sent."""
    return read(traces / f"lss_sharegpt-{model.split('/')[-1].lower()}-300-sps10.jsonl.gz")


def _server(told: dict[str, object], requests: DataFrame, sent: Workload) -> MeasuredServer:
    blocks = float(str(told["kv_blocks"]))
    deployment = Deployment(
        model=model_spec(str(told["model"])),
        accelerator=accelerator(str(told["gpu"]).split("-")[0].lower()),
        engine="vllm",
        engine_version=str(told["engine_version"]),
        weights_dtype=Dtype.BF16,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=MODEL_LEN,
        max_num_seqs=int(str(told["max_num_seqs"])),
        max_num_batched_tokens=int(str(told["max_num_batched_tokens"])),
        tensor_parallel_size=int(str(told["tp"])),
        num_gpu_blocks_override=None if np.isnan(blocks) else int(blocks),
    )
    latencies = Latencies(*(_floats(requests, f"{name}_ms") for name in ("ttft", "tpot", "e2e")))
    workload = _workload(str(told["point_id"]), requests, sent)
    return MeasuredServer(deployment, workload, latencies, not np.isnan(blocks))


def usable_blocks(server: MeasuredServer) -> int:
    """Blocks that its requests could hold: vLLM keeps one of those it logs as its null block."""
    found = ledger(server.deployment)
    if server.states_blocks:
        return found.usable_blocks
    return found.geometry.num_blocks(found.available_kv_bytes) - 1


def _workload(name: str, requests: DataFrame, sent: Workload) -> Workload:
    """The requests when they arrived at the server, which is not quite when the trace says."""
    inputs = requests["input_tokens"].to_numpy("int64")
    if not np.array_equal(inputs, sent.prompt_tokens):
        raise InputError(
            f"the requests of `{name}` are not those of the trace `{sent.name}`",
            hint="give the files of its benchmark as published",
        )
    arrival_ns = np.rint(_floats(requests, "arrival_s") * 1e9).astype(np.int64)
    outputs = requests["output_tokens"].to_numpy("int64")
    return Workload(name, arrival_ns, inputs, outputs, outputs, prefixes=sent.prefixes)


def _floats(frame: DataFrame, column: str) -> Floats:
    return frame[column].to_numpy("float64")


def _read(path: Path) -> DataFrame:
    import pandas  # here alone, for it takes half a second to load

    try:
        return pandas.read_csv(path)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"`{path}` cannot be read as a file of LLMServingSim: {error}",
            hint="give the folder of its measurements",
        ) from error
