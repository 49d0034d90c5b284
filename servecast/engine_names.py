"""What engines are called in sentences, and what is said of those that nothing was laid beside."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from servecast.timewarp.installation import INSTALLATIONS

TITLES: Mapping[str, str] = MappingProxyType(
    {name: installation.title for name, installation in INSTALLATIONS.items()}
    | {"trtllm": "TensorRT-LLM", "reference": "reference policies"}
)
"""By the engine's name in a scenario."""

UNVERIFIED: Mapping[str, str] = MappingProxyType(
    {
        "trtllm": "TensorRT-LLM's scheduler and memory are modelled from public documentation, and "
        "were never laid beside the engine",
        "reference": "the policy is modelled from its paper, on vLLM's memory and host time, and "
        "was never laid beside an implementation",
    }
)
"""Why a simulated schedule may differ from a real one, by the engine's name."""
