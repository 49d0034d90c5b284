"""The memory of one deployment, line by line: how much, and why that much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servecast.output import counted, literal

if TYPE_CHECKING:
    from servecast.output import Output
    from servecast.primitives.deployment import Deployment
    from servecast.primitives.memory import Ledger

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the account: a name, signed bytes, what they are, and how they are known."""

    name: str
    value_bytes: int
    why: str
    known_by: str


def lines(deployment: Deployment, found: Ledger) -> Iterator[Line]:
    """The account of the fullest rank: what there is, what is taken off, what is left."""
    d, share = deployment, deployment.gpu_memory_utilization
    ranks = counted(d.gpus_per_replica, "GPU")
    batch = f"{d.max_num_seqs:,} sequences, {d.max_num_batched_tokens:,} tokens a step"
    sliced = "all of them" if d.gpus_per_replica == 1 else f"the share of one of {ranks}"
    yield Line("device", found.total_bytes, "as its driver reports it", "catalogue")
    yield Line("may use", found.requested_bytes, f"gpu_memory_utilization {share:g}", "arithmetic")
    yield Line("weights", -found.weights_bytes, f"in {d.weights_dtype}, {sliced}", "arithmetic")
    if found.draft_weights_bytes and d.drafting and d.drafting.draft:
        draft = d.drafting.draft
        yield Line(
            "draft", -found.draft_weights_bytes, f"{draft.model.name} in {draft.weights_dtype}",
            "arithmetic",
        )  # fmt: skip
    yield Line("non-torch", -found.non_torch_bytes, f"context, buffers of {ranks}", "start-up logs")
    yield Line(
        "activation", -found.peak_activation_bytes, f"start-up run: {batch}", "start-up logs"
    )
    yield Line("graphs", -found.cuda_graph_bytes, "CUDA graphs", "start-up logs")
    yield Line("for KV", found.available_kv_bytes, "what the engine should find", "sum")
    if d.num_gpu_blocks_override is None:
        yield Line("margin", -found.margin_bytes, "for the error of start-up logs", "choice")
    held = found.num_gpu_blocks * found.geometry.bytes_per_block
    override = "" if d.num_gpu_blocks_override is None else ", by num_gpu_blocks_override"
    yield Line("KV cache", held, f"{counted(found.num_gpu_blocks, 'block')}{override}", "sum")


def show(out: Output, deployment: Deployment, found: Ledger) -> None:
    """Print the account and what the blocks hold, or why the engine would not start."""
    d, geometry = deployment, found.geometry
    title = f"{d.gpus_per_replica} x {d.accelerator.name}, vLLM {d.engine_version}"
    out.line(f"[bold]{literal(d.model.name)}[/] on {title}, GiB of one GPU\n")
    rows = [
        (line.name, f"{line.value_bytes / _GIB:.2f}", literal(line.why), line.known_by)
        for line in lines(d, found)
    ]
    out.table(("line", "GiB", "what", "known by"), rows, spare=("known by",))
    page = f"{geometry.bytes_per_block / 2**20:,.2f} MiB"
    usable = counted(found.usable_blocks, "block")
    out.line(f"\na block   {page} for {geometry.block_size} tokens in {d.kv_cache_dtype}")
    out.line(f"usable    {usable}: vLLM keeps one of {found.num_gpu_blocks:,} as its null block")
    out.line(f"KV cache  {counted(found.kv_tokens, 'token')}, as the engine logs it")
    fits = found.max_concurrency(d.max_model_len)
    out.line(f"holds     {fits:,.2f} requests of max_model_len {d.max_model_len:,} at once")
    if reason := found.shortfall():
        out.line(f"\ndoes not start: {reason}")


def as_json(deployment: Deployment, found: Ledger) -> dict[str, object]:
    """The same in bytes, with the limits in force."""
    d = deployment
    return {
        "model": d.model.name,
        "gpu": d.accelerator.name,
        "gpus": d.gpus_per_replica,
        "max_model_len": d.max_model_len,
        "max_num_seqs": d.max_num_seqs,
        "max_num_batched_tokens": d.max_num_batched_tokens,
        "lines": [
            {"line": each.name, "bytes": each.value_bytes, "what": each.why, "by": each.known_by}
            for each in lines(d, found)
        ],
        "bytes_per_block": found.geometry.bytes_per_block,
        "num_gpu_blocks": found.num_gpu_blocks,
        "usable_blocks": found.usable_blocks,
        "kv_tokens": found.kv_tokens,
        "max_concurrency": found.max_concurrency(d.max_model_len),
        "does_not_start": found.shortfall(),
    }
