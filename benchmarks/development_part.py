"""The development part of the public silicon sample: its groups, families and odd rows."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from servecast.primitives import catalogue
from servecast.primitives.memory_priors import has_experts
from servecast.profiler.measured_points import Measured, read_measured
from servecast.profiler.silicon_points import SiliconPoint

_KERNELS = {"DeepSeek-R1": "DeepSeek", "DeepSeek-V3": "DeepSeek", "Qwen3-32B-NVFP4": "Qwen3-32B"}
"""Names under which one architecture was measured; what they share is left out together."""
_LARGE = ("Kimi", "Qwen3.5", "GLM")


def published_data() -> Path:
    """The folder of published data."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    return Path(folder)


def aggregated() -> list[Measured]:
    """The rows of the development part whose servers compute prompts and answers."""
    return [row for row in _development_part() if row.point.mode == "agg"]


def disaggregated() -> list[Measured]:
    """Those of two pools, as far as they state workers, batches and parallel sizes."""
    rows = [row for row in _development_part() if row.point.mode == "disagg"]
    return [row for row in rows if row.point.prefill and row.point.decode]


def _development_part() -> list[Measured]:
    return read_measured(published_data() / "groundtruth" / "silicon_dev.csv")


def group_of(point: SiliconPoint) -> str:
    """Architecture, GPU and engine: what shares its causes of error and is left out together."""
    name = point.model.rpartition("/")[2].replace("-R1-NVFP4", "-R1")
    return f"{_KERNELS.get(name, name)} {point.gpu.partition('-')[0]} {point.engine}"


def family_of(point: SiliconPoint) -> str:
    """What kind of model it is, as the tables of errors name it."""
    if not has_experts(catalogue.model(point.model)):
        return "dense"
    if "DeepSeek" in point.model:
        return "DeepSeek"
    if any(name in point.model for name in _LARGE):
        return "Kimi, Qwen3.5, GLM-5"
    return "Qwen3-235B, gpt-oss" if point.is_own_sweep else "gpt-oss, MiniMax"


def is_set_aside(point: SiliconPoint) -> bool:
    """Whether a row is known not to have run as its label says; errors of these are shown apart.

    gpt-oss on H100 with 512 clients: the engine ran far fewer. Qwen3-235B with vLLM: twice the
    time of its tables whatever the load. gpt-oss on H100 with TensorRT-LLM: five rows, of one time.
    """
    is_h100_gpt = "gpt-oss" in point.model and point.gpu.startswith("H100")
    if is_h100_gpt and point.engine == "trtllm":
        return True
    if is_h100_gpt and point.engine == "vllm" and point.clients == 512:
        return True
    return "Qwen3-235B" in point.model and point.engine == "vllm"


def by_group(rows: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The rows of every group, by its name."""
    found: dict[str, list[Measured]] = defaultdict(list)
    for row in rows:
        found[group_of(row.point)].append(row)
    return dict(sorted(found.items()))


def sample(rows: Sequence[Measured], each: int) -> list[Measured]:
    """At most `each` rows of every group, evenly spread over tensor sizes, lengths and loads."""
    found: list[Measured] = []
    for own in by_group(rows).values():
        own.sort(key=lambda row: _shape(row.point))
        count = min(each, len(own))
        found += [own[round((index + 0.5) * len(own) / count - 0.5)] for index in range(count)]
    return found


def _shape(point: SiliconPoint) -> tuple[bool, str, int, int, int, int, str]:
    load = (point.tp_size, point.isl, point.osl, point.clients or 0)
    return (point.is_own_sweep, point.precision or "", *load, point.point_id)
