"""Lines and tables at a width: what does not fit is folded or left out whole, never cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.text import Text

GAP = "  "
"""Between two columns of a table."""

NARROWEST = 8
"""A column is not folded below so many characters."""

_PIECE = re.compile(r"\S*?[-/_,](?=\w)|\S+?(?=\s|$)|\s+")
"""Words, and their parts after a hyphen, slash, underscore or comma: where a fold may come."""


def fold(text: Text, width: int | None) -> list[Text]:
    """`text` in lines of at most `width`: between words if it can be, each indented as the first.

    A word is broken only where it is longer than a whole line.
    """
    plain = text.plain.rstrip()
    indent = len(plain) - len(plain.lstrip())
    if width is None or len(plain) <= width:
        return [text]
    room = max(width - indent, 1)
    lines = text[indent : len(plain)].divide(_breaks(plain[indent:], room))
    for line in lines:
        line.rstrip()
        line.pad_left(indent)
    return list(lines)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Text]],
    width: int | None,
    spare: Sequence[str] = (),
) -> tuple[list[Text], list[str]]:
    """The lines of a table and the columns left out; columns of figures are right-aligned.

    Where it exceeds `width`, headers fold first; then `spare` columns are left out, the first of
    them first; then texts fold inside their columns.
    """
    kept = list(range(len(columns)))
    heads = list(columns)
    widest = [max((len(row[i]) for row in rows), default=0) for i in kept]
    if _excess(heads, widest, kept, width) > 0:
        heads = [_folded_head(head, widest[i]) for i, head in enumerate(heads)]
    for name in spare:
        if _excess(heads, widest, kept, width) > 0:
            kept.remove(columns.index(name))
    figures = [i > 0 and all(_is_figure(row[i].plain) for row in rows) for i in range(len(heads))]
    words = [_longest_word([heads[i], *(row[i].plain for row in rows)]) for i in range(len(heads))]
    floors = [widest[i] if figures[i] else words[i] for i in range(len(heads))]
    widths = _fitted(heads, widest, kept, floors, width)
    head = [Text(head, style="bold") for head in heads]
    aligned = [figures[i] for i in kept]
    lines = [
        line for row in (head, *rows) for line in _row([row[i] for i in kept], widths, aligned)
    ]
    return lines, [name for i, name in enumerate(columns) if i not in kept]


def _breaks(plain: str, room: int) -> list[int]:
    """Offsets at which to cut: as late as possible, at spaces before parts of words."""
    cuts: list[int] = []
    start = 0
    while len(plain) - start > room:
        space = plain.rfind(" ", start, start + room + 1)
        ends = [m.end() for m in _PIECE.finditer(plain, start, start + room) if m.end() > start]
        inner = [end for end in ends if end <= start + room and plain[end - 1] in "-/_,"]
        cut = space + 1 if space > start else (inner[-1] if inner else start + room)
        cuts.append(cut)
        start = cut
    return cuts


def _head_width(head: str) -> int:
    return max(len(line) for line in head.split("\n"))


def _excess(heads: list[str], widest: list[int], kept: list[int], width: int | None) -> int:
    natural = sum(max(_head_width(heads[i]), widest[i]) for i in kept) + len(GAP) * (len(kept) - 1)
    return 0 if width is None else natural - width


def _folded_head(head: str, room: int) -> str:
    """A header over several lines, broken at spaces and underscores, no wider than need be."""
    lines = [""]
    for piece in re.findall(r"[^ _]+_?|_| ", head):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > room:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines if line.strip())


def _longest_word(texts: list[str]) -> int:
    return max((len(word) for text in texts for word in text.split()), default=0)


def _fitted(
    heads: list[str], widest: list[int], kept: list[int], floors: list[int], width: int | None
) -> list[int]:
    """The width of each kept column, narrowed until the table fits, the widest first.

    Down to its floor, where all its words are whole; a terminal too narrow for that breaks words.
    """
    widths = {i: max(_head_width(heads[i]), widest[i]) for i in kept}
    excess = _excess(heads, widest, kept, width)
    for least in (floors, [NARROWEST] * len(floors)):
        while excess > 0 and (wide := [i for i in kept if widths[i] > least[i]]):
            widths[max(wide, key=lambda i: widths[i])] -= 1
            excess -= 1
    return [widths[i] for i in kept]


def _row(cells: list[Text], widths: list[int], figures: list[bool]) -> Iterator[Text]:
    """The lines of one row, as many as its longest cell takes."""
    folded = [
        [line for part in cell.split("\n") for line in fold(part, room)]
        for cell, room in zip(cells, widths, strict=True)
    ]
    for number in range(max(map(len, folded))):
        line = Text()
        for lines, room, figure in zip(folded, widths, figures, strict=True):
            part = lines[number].copy() if number < len(lines) else Text()
            part.align("right" if figure else "left", room)
            line.append_text(part).append(GAP)
        line.rstrip()
        yield line


def _is_figure(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in tuple("$-±–")
