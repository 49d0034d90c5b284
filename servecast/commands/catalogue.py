"""`servecast models` and `servecast gpus`: what the catalogue knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, literal

if TYPE_CHECKING:
    from servecast.primitives.accelerator import Accelerator
    from servecast.primitives.model import ModelSpec


def models(
    name: Annotated[
        str | None, typer.Argument(help="A model, or a config.json; all if left out.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """List the models of the catalogue, or show one layer by layer."""
    from servecast.primitives import catalogue

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    if name is not None:
        _show_model(out, catalogue.model(name))
        return
    known = catalogue.models()
    if out.json_mode:
        out.data([_model_row(model) for model in known])
        return
    columns = ("model", "params", "active", "layers", "attention", "weights", "context")
    rows = ([str(cell) for cell in _model_cells(model)] for model in known)
    out.table(columns, rows, spare=("weights", "attention", "layers"))
    out.note(f"\n{len(known)} models; any other by the path of its config.json")


def gpus(
    name: Annotated[str | None, typer.Argument(help="An accelerator; all if left out.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """List the accelerators of the catalogue, or show one."""
    from servecast.primitives import catalogue

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    known = [catalogue.accelerator(name)] if name else list(catalogue.accelerators())
    if out.json_mode:
        rows = [_accelerator_row(device) for device in known]
        out.data(rows[0] if name else rows)
        return
    columns = ("gpu", "memory", "bandwidth", "bf16", "fp8", "link", "USD/h", "confidence")
    out.table(columns, (_accelerator_cells(device) for device in known), spare=("link",))
    for device in known if name else ():
        out.line(f"\nsource: {literal(device.source)}")


def _show_model(out: Output, model: ModelSpec) -> None:
    from servecast.commands.layers import ffn_words, layers_json, mixer_words
    from servecast.primitives.weights import active_parameters, parameters

    if out.json_mode:
        groups = [layers_json(group) for group in model.layers]
        out.data({**_model_row(model), "layer_groups": groups})
        return
    out.line(f"[bold]{literal(model.name)}[/] · {literal(model.architecture)}")
    out.line(
        f"{parameters(model) / 1e9:.2f}B parameters, "
        f"{active_parameters(model) / 1e9:.2f}B active · hidden {model.hidden} · "
        f"vocabulary {model.vocab} · context {model.max_model_len} · "
        f"weights {model.weights_dtype}\n"
    )
    rows = ((str(g.count), mixer_words(g.mixer), ffn_words(g.ffn)) for g in model.layers)
    out.table(("layers", "mixer", "feed-forward"), rows)
    out.line(f"\nsource: {literal(model.source)}")


def _model_row(model: ModelSpec) -> dict[str, object]:
    keys = (
        "model",
        "params",
        "active_params",
        "layers",
        "attention",
        "weights_dtype",
        "max_model_len",
    )
    return {**dict(zip(keys, _model_figures(model), strict=True)), "source": model.source}


def _model_figures(model: ModelSpec) -> tuple[object, ...]:
    from servecast.primitives.weights import active_parameters, parameters

    kinds = {type(group.mixer).__name__ for group in model.layers if group.mixer is not None}
    attention = "+".join(sorted(_KINDS.get(kind, kind) for kind in kinds))
    return (
        model.name,
        parameters(model),
        active_parameters(model),
        model.num_layers,
        attention,
        str(model.weights_dtype),
        model.max_model_len,
    )


_KEYS = (
    "model",
    "params",
    "active_params",
    "layers",
    "attention",
    "weights_dtype",
    "max_model_len",
)
_KINDS = {"Attention": "softmax", "LatentAttention": "MLA", "LinearAttention": "linear"}


def _model_cells(model: ModelSpec) -> list[object]:
    name, total, active, *rest = _model_figures(model)
    return [name, *(f"{float(str(count)) / 1e9:.1f}B" for count in (total, active)), *rest]


def _accelerator_row(device: Accelerator) -> dict[str, object]:
    return {
        "gpu": device.name,
        "vendor": device.vendor,
        "memory_bytes": device.memory_bytes,
        "bw_bytes_per_s": device.bw_bytes_per_s,
        "flops": {str(dtype): flops for dtype, flops in device.flops.items()},
        "link": device.link.name,
        "link_bytes_per_s": device.link.bw_bytes_per_s,
        "link_domain": device.link.domain,
        "tdp_w": device.tdp_w,
        "idle_w": device.idle_w,
        "usd_per_hour": device.usd_per_hour,
        "confidence": device.confidence,
        "source": device.source,
    }


def _accelerator_cells(device: Accelerator) -> list[str]:
    from servecast.primitives.dtype import Dtype

    fp8 = device.flops.get(Dtype.FP8)
    price = device.usd_per_hour
    return [
        device.name,
        f"{device.memory_bytes / 2**30:.1f} GiB",
        f"{device.bw_bytes_per_s / 1e12:.2f} TB/s",
        f"{device.flops[Dtype.BF16] / 1e12:.0f} TF",
        f"{fp8 / 1e12:.0f} TF" if fp8 else "–",
        _link(device),
        f"${price:.2f}" if price is not None else "–",
        device.confidence,
    ]


def _link(device: Accelerator) -> str:
    link = device.link
    if link.domain == 1:
        return "–"
    return f"{link.name} {link.bw_bytes_per_s / 1e9:.0f} GB/s ×{link.domain}"
