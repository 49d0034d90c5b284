"""The accelerator that vLLM believes it has, without any: an out-of-tree platform."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from servecast.primitives.accelerator import Accelerator
from servecast.timewarp.foreign import foreign
from servecast.timewarp.meta_model_attention import PrefillWithoutKernels, backend_name

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "CRITICAL",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Read by vLLM when it is imported; what the user has set is kept."""


class VirtualAccelerator:
    """What a platform answers about its device. vLLM's own `Platform` supplies the rest.

    vLLM takes the device's *name and memory* as those of the target, so that it picks the target's
    defaults; the device *type* stays "cpu", which is what torch has here.
    """

    accelerator: Accelerator
    device_name = "cpu"
    device_type = "cpu"
    dispatch_key = "CPU"
    dist_backend = "gloo"
    simple_compile_backend = "eager"

    @classmethod
    def get_device_name(cls, device_id: int = 0) -> str:
        """The target's name."""
        return cls.accelerator.name

    @classmethod
    def get_device_total_memory(cls, device_id: int = 0) -> int:
        """The target's bytes."""
        return cls.accelerator.memory_bytes

    @classmethod
    def get_device_capability(cls, device_id: int = 0) -> Any:
        """A recent one: it decides which kernels may be chosen, and none of them runs."""
        return foreign("vllm.platforms.interface").DeviceCapability(9, 0)

    @classmethod
    def is_pin_memory_available(cls) -> bool:
        """No host memory is copied to a device."""
        return False

    @classmethod
    def support_hybrid_kv_cache(cls) -> bool:
        """As on the target."""
        return True

    @classmethod
    def get_attn_backend_cls(cls, *_: object, attn_selector_config: Any, **__: object) -> str:
        """The target's, as far as it shapes a KV cache."""
        return backend_name(attn_selector_config)

    @classmethod
    def get_mla_prefill_backend_cls(cls, *_: object) -> type[PrefillWithoutKernels]:
        """None of its own either."""
        return PrefillWithoutKernels

    @classmethod
    def inference_mode(cls) -> Any:
        """Nothing is inferred."""
        return foreign("torch").no_grad()


def present(accelerator: Accelerator) -> None:
    """Make vLLM see `accelerator`, whether it has looked at its platform before or not."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"])
    platforms = foreign("vllm.platforms")
    known = platforms.__dict__["_current_platform"]  # asked for by name it would be looked for
    if not isinstance(known, VirtualAccelerator):
        interface = foreign("vllm.platforms.interface")
        own = {"_enum": interface.PlatformEnum.OOT}
        made: Any = type("VirtualPlatform", (VirtualAccelerator, interface.Platform), own)()
        _replace(platforms, known, made)
        known = made
    type(known).accelerator = accelerator
    # Without Triton vLLM falls back to an older model runner, whose scheduling differs.
    foreign("vllm.config.vllm").HAS_TRITON = True


def _replace(platforms: Any, old: object, new: object) -> None:
    """Put `new` wherever vLLM has bound `old`: modules bind the platform when they are imported."""
    platforms._current_platform = new
    for name, module in list(sys.modules.items()):
        if old is not None and name.startswith("vllm"):
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)
