"""All-reduce among more ranks than were measured, compared on the largest count left out.

`python -m benchmarks.unmeasured_ranks [DEVICE ...]` (extra `aic`) takes the most ranks out of every
table, predicts them from the others by each way, and shows forecast over measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Row, show
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, cost_table
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.operations import ACTIVATION_BYTES, AllReduce
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource
from servecast.profiler.aic_package import systems
from servecast.profiler.aiconfigurator import import_system

Floats = NDArray[np.float64]
CLASSES = (("to 64 KiB", 0.0), ("to 1 MiB", 2.0**16), ("to 16 MiB", 2.0**20), ("above", 2.0**24))
"""Sizes of messages, each class with the bytes above which it begins."""


class LeftOut(NamedTuple):
    """The points of a table with the most ranks, and a source that knows the others alone."""

    links: str
    source: TableSource
    device: Accelerator
    measured: AllReduce
    seconds: Floats


def shipped(case: LeftOut) -> Floats:
    """The product's own way: its source has no such number of ranks."""
    return _seconds(case, case.measured)


def same_payload(case: LeftOut) -> Floats:
    """Half the ranks with the payload itself."""
    return _seconds(case, AllReduce(case.measured.payload_bytes, case.measured.ranks // 2))


def same_sent(case: LeftOut) -> Floats:
    """Half the ranks with the payload of which those send as much."""
    half, sent = case.measured.ranks // 2, case.measured.bytes
    return _seconds(case, AllReduce(sent / AllReduce(1.0, half).bytes, half))


def twice_latency(case: LeftOut) -> Floats:
    """The same, and the shortest message among half the ranks."""
    return same_sent(case) + _seconds(case, AllReduce(ACTIVATION_BYTES, case.measured.ranks // 2))


WAYS: tuple[Callable[[LeftOut], Floats], ...] = (shipped, same_payload, same_sent, twice_latency)


def left_out(device: Accelerator) -> Iterator[LeftOut]:
    """A case for each table of kernels that has half of its largest number of ranks too."""
    for table in import_system(device.name, families=["collectives"]):
        if table.key.operation == "all_reduce" and not table.key.is_eager:
            case = _without_most(table, device)
            if case is not None:
                yield case


def _without_most(table: CostTable, device: Accelerator) -> LeftOut | None:
    payload, ranks = table.points.T
    most = int(ranks.max())
    is_most = ranks == most
    if most // 2 not in ranks or table.key.dtype not in ("bf16", "fp16"):
        return None
    rest = cost_table(table.key, table.points[~is_most], table.seconds[~is_most])
    source = TableSource(MeasuredTables(CostStore([rest])), TablePreferences((table.key.source,)))
    sizes: Floats = payload[is_most] * ACTIVATION_BYTES
    links = "PCIe" if device.link.name.startswith("PCIe") else "NVLink"
    return LeftOut(links, source, device, AllReduce(sizes, most), table.seconds[is_most])


def _seconds(case: LeftOut, operation: AllReduce) -> Floats:
    return np.asarray(case.source.seconds(operation, case.device), dtype=np.float64)


def _rows(cases: Sequence[LeftOut]) -> Iterator[Row]:
    """A row for each way and class of sizes: forecast over measured, over all tables."""
    ends = [least for _, least in CLASSES[1:]] + [np.inf]
    for way in WAYS:
        ratios = np.concatenate([way(case) / case.seconds for case in cases])
        sizes = np.concatenate([np.asarray(case.measured.payload_bytes) for case in cases])
        for (name, least), most in zip(CLASSES, ends, strict=True):
            own = ratios[(sizes > least) & (sizes <= most)]
            low, middle, high = np.percentile(own, [10, 50, 90]).tolist()
            off = np.abs(np.log(own))
            yield {
                "way": way.__name__,
                "message": name,
                "points": len(own),
                "P10": low,
                "median": middle,
                "P90": high,
                "off by, median": float(np.exp(np.median(off))),
                "off by, P90": float(np.exp(np.percentile(off, 90))),
            }


def main() -> None:
    """Print a table for each kind of link, and which tables were left out of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("devices", nargs="*", default=systems())
    found = [case for name in parser.parse_args().devices for case in left_out(accelerator(name))]
    for links in sorted({case.links for case in found}):
        cases = [case for case in found if case.links == links]
        devices = ", ".join(dict.fromkeys(case.device.name for case in cases))
        title = f"{links}, {len(cases)} tables of {devices}: forecast over measured"
        show(title, list(_rows(cases)))


if __name__ == "__main__":
    main()
