"""Ways to price a shape that was not measured from those that were, compared on shapes left out.

`python -m benchmarks.unmeasured_shapes h200_sxm` thins the products of vLLM in bf16 to 60 shapes,
leaves each out in turn, and predicts the share of the peaks that it reaches by each way.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Row, show
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost_table import CostTable
from servecast.primitives.dtype import Dtype
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.kriging import weights
from servecast.primitives.operations import Gemm
from servecast.primitives.sites import NEIGHBOURS, alike
from servecast.profiler.aiconfigurator import import_system

Floats = NDArray[np.float64]
Way = Callable[[Floats, Floats, Floats], Floats]
"""From places of shapes, in octaves, their values, and a place, to the values there."""

SHAPES, SEED = 60, 0


def kriging(known: Floats, values: Floats, wanted: Floats) -> Floats:
    """The product's own way."""
    return weights(known, wanted) @ values


def nearest(known: Floats, values: Floats, wanted: Floats) -> Floats:
    """The values of the nearest shape."""
    return np.asarray(values[np.argmin(np.linalg.norm(known - wanted, axis=1))])


def inverse_distance(known: Floats, values: Floats, wanted: Floats) -> Floats:
    """A mean weighed by the inverse squares of distances."""
    shares = np.linalg.norm(known - wanted, axis=1) ** -2.0
    return np.asarray(shares / shares.sum() @ values, dtype=np.float64)


def plane(known: Floats, values: Floats, wanted: Floats) -> Floats:
    """The plane of least squares through the neighbours."""
    ones = np.ones((len(known), 1))
    fitted = np.linalg.lstsq(np.hstack([ones, known - wanted]), values, rcond=None)[0]
    return np.asarray(fitted[0])


WAYS: tuple[Way, ...] = (kriging, nearest, inverse_distance, plane)


def utilisations(table: CostTable, device: Accelerator) -> tuple[Floats, Floats]:
    """Shapes in octaves, and the logarithm of the share of the peaks that each reaches at each m.

    Of shapes measured at the same m as most are.
    """
    rows = alike(table.points[:, 1:])
    sizes = [tuple(table.points[own, 0].tolist()) for own in rows]
    common = max(set(sizes), key=sizes.count)
    kept = [own for own, size in zip(rows, sizes, strict=True) if size == common]
    picked = np.random.default_rng(SEED).choice(len(kept), SHAPES, replace=False)
    shapes = np.array([table.points[kept[place][0], 1:] for place in picked])
    at = np.array(common, dtype=np.float64)
    reached = [
        ideal_s(Gemm(at, int(n), int(k), Dtype.BF16), device) / table.seconds[kept[place]]
        for place, (n, k) in zip(picked, shapes, strict=True)
    ]
    return np.log2(shapes), np.log(reached)


def left_out(way: Way, places: Floats, values: Floats) -> Floats:
    """Relative errors of the times of every shape, from its neighbours alone."""
    errors: list[Floats] = []
    for own in range(len(places)):
        distance = np.linalg.norm(places - places[own], axis=1)
        distance[own] = np.inf
        near = np.argsort(distance)[:NEIGHBOURS]
        found = way(places[near], values[near], places[own])
        errors.append(np.abs(np.exp(values[own] - found) - 1.0))
    return np.concatenate(errors)


def _row(places: Floats, values: Floats, way: Way) -> Row:
    off = left_out(way, places, values) * 100
    return {
        "way": way.__name__,
        "median %": float(np.median(off)),
        "P90 %": float(np.percentile(off, 90)),
    }


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device", nargs="?", default="h200_sxm")
    device = accelerator(parser.parse_args().device)
    tables = import_system(device.name, sources=["vllm"], families=["gemm"])
    table = max((each for each in tables if each.key.dtype == "bf16"), key=len)
    title = f"{device.name}: {SHAPES} shapes of products, each left out"
    show(title, list(map(partial(_row, *utilisations(table, device)), WAYS)))


if __name__ == "__main__":
    main()
