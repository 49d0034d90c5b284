"""The rows of WEKA's table of requests, read and checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.traces.columns import integers
from servecast.traces.faults import Faults
from servecast.traces.quantities import MAX_TOKENS, SECONDS, TOKENS, Quantity, scaled_integer
from servecast.traces.tables import Table
from servecast.traces.weka_chains import BLOCK_TOKENS
from servecast.traces.workload import Ints


def _number(text: str) -> int:
    number = scaled_integer(text, 0)
    if not -1 <= number <= MAX_TOKENS:
        raise ValueError(text)
    return number


def _output(text: str) -> int:
    """A request that said nothing has computed its prompt: it ends at its first token."""
    return 1 if text.strip() in ("0", "0.0") else TOKENS.parse(text)


_NUMBER = Quantity(_number, f"a whole number from -1 to {MAX_TOKENS}")
_OUTPUT = Quantity(_output, f"a whole number of tokens from 0 to {MAX_TOKENS}")
_PAUSE = Quantity(lambda text: SECONDS.parse(text) if text else -1, SECONDS.rule)
RUN = "session"
KINDS = {
    "t_s": SECONDS,
    "input_tokens": TOKENS,
    "output_tokens": _OUTPUT,
    "row": _NUMBER,
    "agent": _NUMBER,
    "parent_row": _NUMBER,
    "ref": _NUMBER,
    "keep": _NUMBER,
    "api_s": _PAUSE,
    "think_s": _PAUSE,
}
"""The columns of numbers; a time that is missing reads as -1."""


@dataclass(frozen=True, slots=True)
class WekaRows:
    """The table: the name of each row's run, its place in it, and the columns of numbers."""

    runs: list[str]
    begins: Ints
    """Where the run of each row begins."""
    columns: dict[str, Ints]

    def of_run(self, name: str) -> list[int | None]:
        """For each row the place in the table of the row that a column names within the run."""
        named = self.columns[name]
        places = (self.begins + named).tolist()
        return [at if row >= 0 else None for at, row in zip(places, named.tolist(), strict=True)]


def weka_rows(table: Table, limit: int | None, faults: Faults) -> WekaRows:
    """The first `limit` rows. Faults raise InputError, as `Faults.settle` does."""
    names = [*KINDS, RUN]
    runs: list[str] = []
    lines: list[int] = []
    parts: dict[str, list[Ints]] = {name: [np.empty(0, np.int64)] for name in KINDS}
    for chunk in table.chunks(names, limit, faults):
        for place, (name, kind) in enumerate(KINDS.items()):
            parts[name].append(integers(chunk, place, names, kind, faults))
        runs += chunk.columns[-1]
        lines += chunk.lines
    faults.settle()
    columns = {name: np.concatenate(part) for name, part in parts.items()}
    rows = WekaRows(runs, _begins(runs), columns)
    _check(rows, lines, faults)
    faults.settle()
    return rows


def _begins(runs: list[str]) -> Ints:
    first = [place for place, run in enumerate(runs) if not place or run != runs[place - 1]]
    return np.repeat(np.array(first, np.int64), np.diff([*first, len(runs)]))


def _check(rows: WekaRows, lines: list[int], faults: Faults) -> None:
    """Note the first row that breaks each rule."""
    columns = rows.columns
    row, like, keep = columns["row"], columns["ref"], columns["keep"]
    numbered = np.arange(len(row)) - rows.begins
    blocks = columns["input_tokens"] // BLOCK_TOKENS
    theirs = np.where(like < 0, 0, blocks[np.clip(rows.begins + like, 0, max(len(row) - 1, 0))])
    rules: list[tuple[str, NDArray[np.bool_], str]] = [
        ("row", row != numbered, "that of the row before in its run and 1, and 0 in its first"),
        ("parent_row", columns["parent_row"] >= numbered, "an earlier row of the run, or -1"),
        ("ref", like >= numbered, "an earlier row of the run, or -1"),
        ("keep", (keep < 0) | (keep > np.minimum(blocks, theirs)), "blocks that both prompts have"),
    ]
    for name, broken, rule in rules:
        if broken.any():
            place = int(np.argmax(broken))
            faults.add_value(lines[place], name, str(columns[name][place]), rule)
