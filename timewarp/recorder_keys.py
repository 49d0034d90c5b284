"""Under which keys a server's steps are filed."""

from __future__ import annotations

import time
from typing import Any

from servecast.errors import InputError
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost_table import TableKey, variant_of
from servecast.timewarp.foreign import foreign
from servecast.timewarp.installation import INSTALLATIONS
from servecast.timewarp.recorded_work import OPERATION

_MAKERS = frozenset({"NVIDIA", "GeForce", "AMD", "Instinct"})
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def recorder_keys(config: Any) -> tuple[TableKey, TableKey, str]:
    """The device's table and the host's, for vLLM's own configuration, and where they come from."""
    model, dtype = config.model_config, str(config.model_config.dtype).removeprefix("torch.")
    version = INSTALLATIONS["vllm"].found or ""
    device, host = (
        TableKey(
            OPERATION,
            device_name(foreign("vllm.platforms").current_platform.get_device_name()),
            model.quantization or _DTYPES.get(dtype, dtype),
            "vllm",
            version,
            variant_of(
                {
                    "part": part,
                    "model": model_trait(model.model),
                    "ranks": str(config.parallel_config.world_size),
                }
            ),
            bool(model.enforce_eager),
        )
        for part in ("device", "host")
    )
    return device, host, f"recorded from vLLM {version}, {time.strftime('%Y-%m-%d')}"


def device_name(reported: str) -> str:
    """The catalogue's name of what a driver calls `reported`; the same where it has none.

    Makers' names and what tells no two of the catalogue apart, the memory, are left out in turn.
    """
    words = [word for word in reported.replace("-", " ").split() if word not in _MAKERS]
    for left_out in ((), ("HBM",), ("HBM", "GB")):
        kept = [word for word in words if word.strip("0123456789e").upper() not in left_out]
        try:
            return accelerator(" ".join(kept)).name
        except InputError:
            continue
    return reported


def model_trait(name: str) -> str:
    """A model's name, of a local one its folder's, without what separates traits."""
    return name.rstrip("/").rpartition("/")[2].replace(",", "_").replace("=", "_")
