"""The steps of a recording: in their order, or as the two tables of the cost store."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from servecast.errors import InputError
from servecast.primitives.cost_table import CostTable, TableKey, variant_of
from servecast.timewarp.recorded_work import OPERATION, StepWork

_HINT = "SERVECAST_RECORD=steps.csv vllm serve … records one"


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One step as a server took it."""

    work: StepWork
    device_ns: int
    host_ns: int

    @property
    def duration_ns(self) -> int:
        """From the end of the step before."""
        return self.device_ns + self.host_ns


def recorded_steps(path: Path) -> Iterator[RecordedStep]:
    """The steps of the file in the order in which they were taken.

    InputError for a file that is no recording.
    """
    try:
        with path.open(encoding="utf-8", newline="") as text:
            rows = [row for row in csv.DictReader(text) if row.get("operation") == OPERATION]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` cannot be read: {error}", hint=_HINT) from error
    if not rows:
        raise InputError(f"`{path}` holds no steps of an engine", hint=_HINT)
    for device, host in pairwise(rows):
        if "part=device" in device["variant"] and device["point"] == host["point"]:
            sizes = (part.partition("=")[2] for part in device["point"].split(";"))
            yield RecordedStep(StepWork(*map(int, sizes)), _ns(device), _ns(host))


def _ns(row: dict[str, str]) -> int:
    return round(float(row["seconds"]) * 1e9)


def recorded_tables(
    tables: Iterable[CostTable], *, device: str | None = None, model: str | None = None
) -> tuple[CostTable, CostTable]:
    """The device's and the host's table of the steps that one server took.

    InputError where none was recorded (of that model, on that device), or where several were.
    """
    servers: dict[TableKey, dict[str, CostTable]] = {}
    for table in tables:
        key, traits = table.key, table.key.traits
        is_wanted = device in (None, key.device) and model in (None, traits.get("model"))
        if key.operation == OPERATION and is_wanted:
            part = traits.pop("part", "")
            servers.setdefault(replace(key, variant=variant_of(traits)), {})[part] = table
    if len(servers) != 1:
        named = "".join(f"\n  {key.device} {key.version} {key.variant}" for key in servers)
        raise InputError(
            f"the steps of one server are needed, of {len(servers)} there are{named}",
            hint="name the device and the model, or keep one server's rows" if servers else _HINT,
        )
    (parts,) = servers.values()
    try:
        return parts["device"], parts["host"]
    except KeyError as error:
        raise InputError(f"the recording has no times of part {error}", hint=_HINT) from None
