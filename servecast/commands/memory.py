"""`servecast memory`: where a GPU's memory goes, down to KV blocks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.errors import ServecastError
from servecast.output import Output, literal

if TYPE_CHECKING:
    from servecast.primitives.memory import Ledger
    from servecast.search.space import Choice, Space

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
    """Show where a GPU's memory goes, for each choice of a scenario."""
    from servecast.loading import builtin, load
    from servecast.question import space_of
    from servecast.search.space import grouped

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    asked = load(scenario) if scenario else builtin()
    space = space_of(asked)
    found = [_priced(space, choice) for choice in space.choices()]
    if out.json_mode:
        out.data([_row(priced) for priced in found])
        return
    kind = f" on {asked.hardware.gpu[0]}" if len(asked.hardware.gpu) == 1 else ""
    out.line(f"[bold]{literal(asked.model)}[/]{kind}, GiB of one GPU\n")
    lines = [name for name, _ in _LINES]
    columns = (*(space.dimensions or ["deployment"]), *lines, "KV tokens", "starts")
    out.table(columns, map(_cells, found), spare=("margin", "graphs", "non-torch", "activation"))
    for _, reason in grouped(Counter(p.refusal for p in found if p.refusal)):
        out.line(f"\ndoes not start: {reason}")
    out.note(
        "\nweights and blocks are arithmetic; the rest are priors from public start-up logs, and "
        "the margin is what their error may take"
    )


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


def _cells(priced: Priced) -> list[str]:
    chosen = [str(value) for value in priced.choice.values()] or ["fixed"]
    if priced.ledger is None:
        return [*chosen, *("–" for _ in _LINES), "–", "no"]
    sizes = [f"{getattr(priced.ledger, name) / 2**30:.2f}" for _, name in _LINES]
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
