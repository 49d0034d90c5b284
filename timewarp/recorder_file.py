"""A cost file that grows by a step at a time, and is whole at any moment."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from servecast.errors import InputError
from servecast.primitives.cost_file import COLUMNS
from servecast.primitives.cost_table import TableKey
from servecast.timewarp.recorded_work import StepWork
from servecast.whole_files import explained, replacing


class RecorderFile:
    """Appends two rows a step: its time on the device, and what the host took beside it.

    A step's rows go out whole and at once, in one system call, so that who is killed loses no step
    that has ended. A row that a full disk or a power cut tore is cut away before the file is gone
    on with.
    """

    def __init__(self, path: Path, device: TableKey, host: TableKey, origin: str) -> None:
        """Begin the file, or go on with one; InputError where it is none or cannot be written."""
        self._device, self._host = _cells(device), _cells(host)
        self._origin = origin
        with explained(path):
            if path.exists():
                _mend(path)
            else:
                _begin(path)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def add(self, work: StepWork, device_ns: int, host_ns: int) -> None:
        """Note a step; a time of 0 counts as 1 ns, since tables hold no time of 0.

        OSError where the system refuses.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        for cells, ns in ((self._device, device_ns), (self._host, host_ns)):
            rows.writerow((*cells, work.point, max(ns, 1) / 1e9, "", self._origin))
        os.write(self._file, text.getvalue().encode())

    def close(self) -> None:
        """Take no more."""
        os.close(self._file)


def _cells(key: TableKey) -> tuple[str, ...]:
    names = (key.device, key.operation, key.dtype, key.source, key.version, key.variant)
    return *names, str(int(key.is_eager))


def _begin(path: Path) -> None:
    with replacing(path) as scratch:
        scratch.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")


def _mend(path: Path) -> None:
    with path.open("rb+") as file:
        if file.readline().decode("utf-8", "replace").strip() != ",".join(COLUMNS):
            raise InputError(
                f"`{path}` is no cost file, and steps are to be added to it",
                hint="name a file that does not exist yet, ending in .csv",
            )
        held = file.seek(0, os.SEEK_END)
        tail = min(held, 65536)
        file.seek(held - tail)
        end = file.read(tail).rfind(b"\n")
        file.truncate(held - tail + end + 1)
