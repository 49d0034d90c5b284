"""Faults: what is wrong with the lines of one trace file, told in one error."""

from __future__ import annotations

from pathlib import Path

from servecast.errors import InputError

_LONGEST_VALUE = 60
MEND = "mend or remove the line, then run `servecast trace stats {path}`"


class Faults:
    """The bad lines of one file. A reader adds to it, stops when it is `full`, then settles it."""

    def __init__(self, path: Path, most: int) -> None:
        """Collect up to `most` faults; the error names them all and the hint of the first."""
        if most < 1:
            raise InputError(f"max_bad is {most}, and must be at least 1")
        self._path = path
        self._most = most
        self._found: list[tuple[int, str]] = []
        self._hint = ""

    @property
    def full(self) -> bool:
        """Whether enough faults are known to stop reading."""
        return len(self._found) >= self._most

    def add(self, line: int, what: str, hint: str = MEND) -> None:
        """Note that `line` is bad, `what` naming the value and the rule it breaks."""
        self._hint = self._hint or hint
        self._found.append((line, what))

    def add_value(self, line: int, column: str, text: str, rule: str) -> None:
        """Note that the cell of `column` breaks `rule`."""
        self.add(line, f"{column} is {shown(text)}, and must be {rule}")

    def settle(self) -> None:
        """Raise InputError if anything was noted, bad lines in their order in the file."""
        if not self._found:
            return
        hint = self._hint.format(path=self._path)
        worst = sorted(self._found)[: self._most]
        if len(self._found) == 1:
            line, what = worst[0]
            raise InputError(f"`{self._path}` line {line}: {what}", hint=hint)
        listed = "".join(f"\n  line {line}: {what}" for line, what in worst)
        count = f"at least {len(worst)}" if self.full else str(len(worst))
        raise InputError(f"`{self._path}` has {count} bad lines{listed}", hint=hint)


def shown(text: str) -> str:
    """The text between backticks on one line, shortened where it is long."""
    short = text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
    return f"`{short if short.isprintable() else repr(short)[1:-1]}`"
