"""The catalogue's files, read into values: `data/accelerators.yaml` and `data/models.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar, cast

import yaml

from servecast.primitives.accelerator import Accelerator, Link
from servecast.primitives.dtype import Dtype
from servecast.primitives.linear_mixers import gated_delta_net, kimi_delta, mamba2
from servecast.primitives.model import (
    Attention,
    DenseFfn,
    Ffn,
    LatentAttention,
    LayerGroup,
    LinearAttention,
    Mixer,
    ModelSpec,
    MoeFfn,
)

Entry = dict[str, Any]
Item = TypeVar("Item")

_NO_LINK = Link("none", 0.0, 1)
_RECURRENT: dict[str, Callable[..., LinearAttention]] = {
    "gated_delta": gated_delta_net,
    "mamba": mamba2,
    "kimi_delta": kimi_delta,
}


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """One file of the catalogue: its items in order, and each under every name that finds it."""

    items: tuple[Item, ...]
    by_name: dict[str, Item]


@cache
def accelerator_listing() -> Listing[Accelerator]:
    """The accelerators; names are the identifier and the aliases."""
    document = _read("accelerators.yaml")
    items: list[Accelerator] = []
    names: dict[str, Accelerator] = {}
    for name, entry in document["accelerators"].items():
        items.append(_accelerator(name, entry, document["sources"]))
        names |= dict.fromkeys((name, *entry.get("aliases", ())), items[-1])
    return Listing(tuple(items), names)


@cache
def model_listing() -> Listing[ModelSpec]:
    """The models; names are the identifier, the aliases and the quantized checkpoints."""
    document = _read("models.yaml")
    items: list[ModelSpec] = []
    names: dict[str, ModelSpec] = {}
    for name, entry in document["models"].items():
        spec = _model(name, entry, document["sources"])
        items.append(spec)
        names |= dict.fromkeys((name, *entry.get("aliases", ())), spec)
        for checkpoint, dtype in entry.get("quantized", {}).items():
            names[checkpoint] = replace(spec, name=checkpoint, weights_dtype=Dtype(dtype))
    return Listing(tuple(items), names)


def _read(name: str) -> Entry:
    # The C parser is ten times faster, and absent where libyaml was not found at build time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("servecast.primitives").joinpath("data", name).read_text(encoding="utf-8")
    return cast("Entry", yaml.load(text, Loader=loader))


def _accelerator(name: str, entry: Entry, sources: dict[str, str]) -> Accelerator:
    nominal = "memory_gb" in entry
    memory_bytes = entry["memory_gb"] * 1e9 if nominal else entry["memory_gib"] * 2**30
    link = entry.get("link")
    network = entry.get("network_gbit_per_s")
    stated = "; ".join(sources[key] for key in entry["sources"])
    return Accelerator(
        name=name,
        vendor=entry["vendor"],
        kind=entry["kind"],
        memory_bytes=round(memory_bytes),
        bw_bytes_per_s=entry["bandwidth_tb_per_s"] * 1e12,
        flops={Dtype(dtype): tflops * 1e12 for dtype, tflops in entry["tflops"].items()},
        link=Link(link["name"], link["gb_per_s"] * 1e9, link["domain"]) if link else _NO_LINK,
        tdp_w=entry.get("tdp_w"),
        usd_per_hour=entry.get("usd_per_hour"),
        confidence=entry["confidence"],
        source=f"{stated}; {'nominal' if nominal else 'reported'} memory",
        network_bytes_per_s=network * 1e9 / 8 if network else None,
        host_bytes_per_s=entry["host_gb_per_s"] * 1e9 if "host_gb_per_s" in entry else None,
        idle_w=entry.get("idle_w"),
    )


def _model(name: str, entry: Entry, sources: dict[str, str]) -> ModelSpec:
    note = f"; {entry['note']}" if "note" in entry else ""
    return ModelSpec(
        name=name,
        architecture=entry["architecture"],
        hidden=entry["hidden"],
        vocab=entry["vocab"],
        tie_embeddings=entry.get("tie_embeddings", False),
        max_model_len=entry["max_model_len"],
        weights_dtype=Dtype(entry["weights"]),
        layers=tuple(_layers(entry)),
        source=f"{sources[entry['source']]}{note} ({entry['confidence']})",
        mtp_layers=entry.get("mtp_layers", 0),
    )


def _layers(entry: Entry) -> Iterator[LayerGroup]:
    for group in entry["layers"]:
        yield LayerGroup(group["count"], _mixer(entry["hidden"], group), _ffn(group))


def _mixer(hidden: int, group: Entry) -> Mixer | None:
    if "attention" in group:
        return Attention(**group["attention"])
    if "latent" in group:
        return LatentAttention(**group["latent"])
    for kind, build in _RECURRENT.items():
        if kind in group:
            return build(hidden, **group[kind])
    return None


def _ffn(group: Entry) -> Ffn | None:
    if "dense" in group:
        return DenseFfn(**group["dense"])
    return MoeFfn(**group["moe"]) if "moe" in group else None
