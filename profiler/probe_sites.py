"""The shapes that models bring to a device, and what of them is not measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.model import ModelSpec
from servecast.primitives.sharding import Sharding, require
from servecast.profiler.model_sites import ModelSites
from servecast.profiler.probe_setup import Setup
from servecast.profiler.probe_site import ProbeSite


@dataclass(frozen=True, slots=True)
class Shapes:
    """What models need measured: their shapes, and the reasons for what is missing from them."""

    sites: tuple[ProbeSite, ...]
    unmeasured: dict[str, tuple[str, ...]] = field(hash=False)
    """Reason to the names of the models that it concerns."""


def shapes_of(
    models: Sequence[ModelSpec],
    tensor_parallel_sizes: Iterable[int],
    setup: Setup,
    device: Accelerator,
    operations: Collection[str],
) -> Shapes:
    """The shapes on one rank, each once; InputError for sizes that a model cannot be cut into."""
    sites: set[ProbeSite] = set()
    missing: dict[str, list[str]] = {}
    sizes = tuple(tensor_parallel_sizes)
    for model in models:
        for size in sizes:
            require(model, Sharding(size))
            for found in ModelSites(model, size, setup, device).all():
                if found.operation not in operations:
                    continue
                if isinstance(found, ProbeSite):
                    sites.add(found)
                elif model.name not in missing.setdefault(found.reason, []):
                    missing[found.reason].append(model.name)
    return Shapes(tuple(sorted(sites)), {why: tuple(names) for why, names in missing.items()})
