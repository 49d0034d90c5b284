"""`servecast memory`: where a GPU's memory goes, down to KV blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.errors import InputError, ServecastError
from servecast.output import Output, literal

if TYPE_CHECKING:
    from servecast.named_deployment import NamedDeployment
    from servecast.primitives.memory import Ledger
    from servecast.search.space import Choice, Space

_LINES = (
    ("may use", "requested_bytes"),
    ("weights", "weights_bytes"),
    ("draft", "draft_weights_bytes"),
    ("non-torch", "non_torch_bytes"),
    ("activation", "peak_activation_bytes"),
    ("graphs", "cuda_graph_bytes"),
    ("for KV", "available_kv_bytes"),
    ("margin", "margin_bytes"),
)
_PRIORS = (
    "\nweights and blocks are arithmetic; the rest are priors from public start-up logs, and "
    "the margin is what their error may take"
)


Count = Annotated[int | None, typer.Option(min=1)]


def memory(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="SCENARIO|MODEL", help="A scenario file, or a model; else the built-in one."
        ),
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="Of a model: the kind of GPU.")] = None,
    tensor_parallel_size: Annotated[
        int, typer.Option(min=1, help="As vLLM's, like all below.")
    ] = 1,
    data_parallel_size: Annotated[int, typer.Option(min=1)] = 1,
    enable_expert_parallel: Annotated[bool, typer.Option("--enable-expert-parallel")] = False,
    quantization: Annotated[str | None, typer.Option()] = None,
    kv_cache_dtype: Annotated[str, typer.Option()] = "auto",
    max_model_len: Count = None,
    max_num_seqs: Count = None,
    max_num_batched_tokens: Count = None,
    block_size: Count = None,
    gpu_memory_utilization: Annotated[float | None, typer.Option(min=0.01, max=1.0)] = None,
    num_gpu_blocks_override: Count = None,
    engine_version: Annotated[str, typer.Option(help="The release of vLLM.")] = "0.32",
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Show where a GPU's memory goes, down to KV blocks."""
    from servecast.named_deployment import NamedDeployment

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    asked = NamedDeployment(
        what or "", gpu, engine_version, tensor_parallel_size, data_parallel_size,
        enable_expert_parallel, quantization, kv_cache_dtype, max_model_len, max_num_seqs,
        max_num_batched_tokens, block_size, gpu_memory_utilization, num_gpu_blocks_override,
    )  # fmt: skip
    if _is_scenario(what):
        _refuse_options(what, asked)
        _of_scenario(out, what)
    else:
        _of_deployment(out, asked)


def _is_scenario(what: str | None) -> bool:
    """Whether a path is meant that holds no model: it exists, or is named like a scenario."""
    if what is None:
        return True
    path = Path(what).expanduser()
    is_model = path.suffix == ".json" or (path / "config.json").is_file()
    return not is_model and (path.suffix in (".yaml", ".yml") or path.exists())


def _refuse_options(what: str | None, asked: NamedDeployment) -> None:
    """Options of one deployment beside a scenario would be ignored: a scenario states its own."""
    for name in asked.set_options():
        told = f"scenario {what}" if what else "the built-in scenario"
        raise InputError(
            f"option `--{name.replace('_', '-')}` is for a model, and {told} states its own",
            hint="name a model: `servecast memory Qwen/Qwen3-32B --gpu h100_sxm`",
        )


def _of_deployment(out: Output, asked: NamedDeployment) -> None:
    from servecast.commands.memory_lines import as_json, show
    from servecast.primitives.memory import ledger

    deployment = asked.deployment()
    found = ledger(deployment)
    if out.json_mode:
        out.data(as_json(deployment, found))
        return
    show(out, deployment, found)
    out.note(_PRIORS)


def _of_scenario(out: Output, what: str | None) -> None:
    from servecast.domain import require_one_pool
    from servecast.loading import builtin, load
    from servecast.question import require_vllm, space_of
    from servecast.search.space import grouped

    asked = load(what) if what else builtin()
    require_one_pool(asked)
    require_vllm(asked, "not laid out in a GPU's memory yet")
    space = space_of(asked)
    found = [_priced(space, choice) for choice in space.choices()]
    if out.json_mode:
        out.data([_row(priced) for priced in found])
        return
    kind = f" on {asked.hardware.gpu[0]}" if len(asked.hardware.gpu) == 1 else ""
    out.line(f"[bold]{literal(asked.model)}[/]{kind}, GiB of one GPU\n")
    lines = _lines(found)
    names = [name for name, _ in lines]
    columns = (*(space.dimensions or ["deployment"]), *names, "KV tokens", "starts")
    rows = [_cells(priced, lines) for priced in found]
    out.table(columns, rows, spare=("margin", "graphs", "non-torch", "activation"))
    for _, reason in grouped(Counter(p.refusal for p in found if p.refusal)):
        out.line(f"\ndoes not start: {reason}")
    out.note(_PRIORS)


@dataclass(frozen=True, slots=True)
class Priced:
    """A choice with its ledger, or with the reason why the engine takes no such deployment."""

    choice: Choice
    max_model_len: int
    ledger: Ledger | None
    refusal: str | None


def _priced(space: Space, choice: Choice) -> Priced:
    from servecast.primitives.memory import ledger

    try:
        deployment = space.build(choice)
        found = ledger(deployment)
    except ServecastError as error:
        return Priced(choice, 0, None, error.message)
    return Priced(choice, deployment.max_model_len, found, found.shortfall())


def _lines(found: Sequence[Priced]) -> list[tuple[str, str]]:
    """The lines to show: that of the draft's weights where anything drafts."""
    drafts = any(priced.ledger and priced.ledger.draft_weights_bytes for priced in found)
    return [line for line in _LINES if drafts or line[0] != "draft"]


def _cells(priced: Priced, lines: Sequence[tuple[str, str]]) -> list[str]:
    chosen = [str(value) for value in priced.choice.values()] or ["fixed"]
    if priced.ledger is None:
        return [*chosen, *("–" for _ in lines), "–", "no"]
    sizes = [f"{getattr(priced.ledger, name) / 2**30:.2f}" for _, name in lines]
    return [*chosen, *sizes, f"{priced.ledger.kv_tokens:,}", "no" if priced.refusal else "yes"]


def _row(priced: Priced) -> dict[str, object]:
    led = priced.ledger
    if led is None:
        return {"choice": priced.choice, "does_not_start": priced.refusal}
    lines = {name: getattr(led, name) for _, name in _LINES}
    return {
        "choice": priced.choice,
        **lines,
        "bytes_per_block": led.geometry.bytes_per_block,
        "num_gpu_blocks": led.num_gpu_blocks,
        "usable_blocks": led.usable_blocks,
        "kv_tokens": led.kv_tokens,
        "max_concurrency": led.max_concurrency(priced.max_model_len),
        "does_not_start": priced.refusal,
    }
