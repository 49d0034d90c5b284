"""The kernels of PyTorch that are timed, by operation and the kernel that its key names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from servecast.errors import UnsupportedError
from servecast.profiler import torch_attention, torch_sparse, torch_varlen
from servecast.profiler.probe import Probe
from servecast.profiler.torch_decoder import model_step
from servecast.profiler.torch_experts import experts
from servecast.profiler.torch_tensors import Kernel, Tensor

Sizes = Mapping[str, int]


def kernel_of(probe: Probe) -> Kernel:
    """The kernel of a probe, with its shapes; UnsupportedError for one that there is none of."""
    traits = probe.key.traits
    name, kernel = traits.get("layer", probe.key.operation), traits.get("kernel", "")
    if name == "moe":
        return experts(probe.sizes, traits)
    if name == "host_copy":
        return _host_copy(probe.sizes, traits["direction"])
    build = _KERNELS.get((name, kernel))
    if build is None:
        raise UnsupportedError(f"PyTorch has no kernel for {' '.join((name, kernel)).strip()}")
    return build(probe.sizes)


def _gemm(sizes: Sizes) -> Kernel:
    m, n, k = sizes["m"], sizes["n"], sizes["k"]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        x, out, weights = tensors
        return torch.mm(x, torch.t(weights), out=out)

    return Kernel(((m, k), (m, n)), ((n, k),), call)


def _scaled_gemm(sizes: Sizes) -> Kernel:
    """One scale a tensor, both given; the result is in bf16."""
    m, n, k = sizes["m"], sizes["n"], sizes["k"]

    def made(torch: ModuleType, device: str) -> Sequence[Tensor]:
        return [torch.ones((), device=device)]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        x, scale, weights = tensors
        return torch._scaled_mm(
            x, torch.t(weights), scale_a=scale, scale_b=scale,
            out_dtype=torch.bfloat16, use_fast_accum=True,
        )  # fmt: skip

    return Kernel(((m, k),), ((n, k),), call, made)


def _layernorm(sizes: Sizes) -> Kernel:
    """Adds to the residual and scales by its root mean square."""
    tokens, width = sizes["tokens"], sizes["width"]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        x, residual, weights = tensors
        torch.add(x, residual, out=residual)
        return torch.nn.functional.rms_norm(residual, (width,), weights)

    return Kernel(((tokens, width), (tokens, width), (width,)), (), call)


def _act_fn(sizes: Sizes) -> Kernel:
    """The gate's SiLU times the other half of the row."""

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        (x,) = tensors
        gate, up = torch.chunk(x, 2, dim=-1)
        return torch.mul(torch.nn.functional.silu(gate), up)

    return Kernel(((sizes["tokens"], sizes["width"]),), (), call)


def _sampling(sizes: Sizes) -> Kernel:
    """Draws by dividing probabilities by exponential noise, which needs no stop of the host."""
    shape = (sizes["sequences"], sizes["vocab"])

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        (logits,) = tensors
        shares = torch.softmax(logits, -1, dtype=torch.float32)
        return torch.argmax(shares.div_(torch.empty_like(shares).exponential_()), -1)

    return Kernel((shape,), (), call)


def _host_copy(sizes: Sizes, direction: str) -> Kernel:
    """Page-locked memory of the host to the device or back, in pieces one after the other."""
    count = sizes["pieces"]
    length = max(sizes["bytes"] // count, 1)

    def made(torch: ModuleType, device: str) -> Sequence[Tensor]:
        byte = torch.uint8
        host = torch.empty(count, length, dtype=byte, pin_memory=device == "cuda")
        own = torch.empty(count, length, dtype=byte, device=device)
        return [host, own] if direction == "to_device" else [own, host]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        source, target = map(torch.unbind, tensors)
        for one, other in zip(source, target, strict=True):
            other.copy_(one, non_blocking=True)
        return target

    return Kernel((), (), call, made)


_KERNELS: Mapping[tuple[str, str], Callable[[Sizes], Kernel]] = {
    ("gemm", ""): _gemm,
    ("gemm", "scaled_mm"): _scaled_gemm,
    ("prefill_attention", "sdpa"): torch_attention.prefill,
    ("prefill_attention", "sdpa_chunks"): torch_sparse.windowed,
    ("prefill_attention", "flash_varlen"): torch_varlen.windowed,
    ("decode_attention", "sdpa"): torch_attention.decode,
    ("verify_attention", "sdpa"): torch_attention.verify,
    ("mixed_attention", "sdpa"): torch_attention.mixed,
    ("mixed_attention", "flash_varlen"): torch_varlen.mixed,
    ("block_sparse_attention", "gathered"): torch_sparse.gathered,
    ("block_sparse_attention", "flex"): torch_sparse.flex,
    ("mla_prefill", "sdpa"): torch_attention.latent_prefill,
    ("mla_decode", "sdpa"): torch_attention.latent_decode,
    ("layernorm", "torch"): _layernorm,
    ("act_fn", "torch"): _act_fn,
    ("sampling", ""): _sampling,
    ("model_step", "sdpa"): model_step,
}
