"""Parts of a document that a command writes: between two comments that name the part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def marks(name: str) -> tuple[str, str]:
    """The comments before and after a part."""
    return f"<!-- {name}: written by `python -m benchmarks.accuracy` -->", f"<!-- {name}: end -->"


def replaced(text: str, parts: Mapping[str, str]) -> str:
    """The document with each of these parts anew. ValueError where one is not marked once."""
    for name, part in parts.items():
        begin, end = marks(name)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"`{name}` is not marked by one `{begin}` and one `{end}`")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{part.rstrip()}\n{end}{rest.partition(end)[2]}"
    return text


def rewrite(path: Path, parts: Mapping[str, str]) -> None:
    """Replace these parts of a file."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), parts), encoding="utf-8")


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
