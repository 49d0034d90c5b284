"""`servecast memory`: where a GPU's memory goes, down to KV blocks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output

if TYPE_CHECKING:
    from servecast.primitives.deployment import Deployment
    from servecast.primitives.memory import Ledger

_LINES = (
    ("may use", "requested_bytes"),
    ("weights", "weights_bytes"),
    ("non-torch", "non_torch_bytes"),
    ("activation", "peak_activation_bytes"),
    ("graphs", "cuda_graph_bytes"),
    ("for KV", "available_kv_bytes"),
    ("margin", "margin_bytes"),
)


def memory(
    scenario: Annotated[
        Path | None, typer.Argument(help="A scenario file; the built-in one if left out.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Show the memory ledger of one GPU for each choice of a scenario, and whether it starts."""
    from servecast.loading import builtin, load
    from servecast.primitives.memory import ledger
    from servecast.question import space_of

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    space = space_of(load(scenario) if scenario else builtin())
    found = [
        (choice, ledger(space.build(choice)), space.build(choice)) for choice in space.choices()
    ]
    if out.json_mode:
        out.data([{"choice": choice, **_row(led, d)} for choice, led, d in found])
        return
    first = found[0][2]
    out.line(f"[bold]{first.model.name}[/] on {first.accelerator.name}, GiB of one GPU\n")
    columns = (
        *(space.dimensions or {"deployment": ()}),
        *(name for name, _ in _LINES),
        "KV tokens",
    )
    out.table((*columns, "starts"), (_cells(choice.values(), led) for choice, led, _ in found))
    reasons = dict.fromkeys(reason for _, led, _ in found if (reason := led.shortfall()))
    for reason in reasons:
        out.line(f"\ndoes not start: {reason}")
    out.note(
        "\nweights and blocks are arithmetic; the rest are priors from public start-up logs, and "
        "the margin is what their error may take"
    )


def _cells(values: Iterable[object], led: Ledger) -> list[str]:
    chosen = [str(value) for value in values]
    sizes = [f"{getattr(led, name) / 2**30:.2f}" for _, name in _LINES]
    starts = "yes" if led.shortfall() is None else "no"
    return [*(chosen or ["fixed"]), *sizes, f"{led.kv_tokens:,}", starts]


def _row(led: Ledger, deployment: Deployment) -> dict[str, object]:
    lines = {name: getattr(led, name) for _, name in _LINES}
    return {
        **lines,
        "bytes_per_block": led.geometry.bytes_per_block,
        "num_gpu_blocks": led.num_gpu_blocks,
        "usable_blocks": led.usable_blocks,
        "kv_tokens": led.kv_tokens,
        "max_concurrency": led.max_concurrency(deployment.max_model_len),
        "does_not_start": led.shortfall(),
    }
