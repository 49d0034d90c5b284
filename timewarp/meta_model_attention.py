"""Attention without kernels: a GPU's back ends as far as they shape a KV cache.

vLLM takes a back end by the dotted name of its class. These are made when they are asked for.
"""

from __future__ import annotations

from typing import Any

from servecast.timewarp.foreign import foreign

_BACKENDS = {
    "Plain": ("vllm.v1.attention.backends.flash_attn", "FlashAttentionBackend"),
    "Latent": ("vllm.v1.attention.backends.mla.triton_mla", "TritonMLABackend"),
    "Sparse": ("vllm.v1.attention.backends.mla.flashmla_sparse", "FlashMLASparseBackend"),
}


def backend_name(wanted: Any) -> str:
    """The dotted name of the back end for what vLLM's selector wants."""
    kind = "Sparse" if wanted.use_sparse else "Latent" if wanted.use_mla else "Plain"
    return f"{__name__}.{kind}"


def __getattr__(name: str) -> type[Any]:
    """A back end of `backend_name`."""
    if name not in _BACKENDS:
        raise AttributeError(f"there is no attention `{name}`")
    module, theirs = _BACKENDS[name]
    backend = getattr(foreign(module), theirs)
    kernels = _without_kernels(is_sparse=name == "Sparse")
    return type(name, (backend,), {"get_impl_cls": staticmethod(lambda: kernels)})


def _without_kernels(*, is_sparse: bool) -> type[Any]:
    """An implementation that is made and never run."""
    base = foreign("vllm.v1.attention.backend").AttentionImplBase

    def made(self: object, *_: object, **__: object) -> None:
        """Takes whatever the kernels would be told."""

    return type("NoKernels", (base,), {"__init__": made, "is_sparse": is_sparse})


class PrefillWithoutKernels:
    """What latent attention asks for its prompts."""

    def __init__(self, **_: object) -> None:
        """Takes whatever the kernels would be told."""

    @staticmethod
    def get_name() -> str:
        """What vLLM's log calls it."""
        return "NO_KERNELS"
