"""Lines and tables at a width: whatever does not fit is folded or left out whole, never cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from servecast import layout

WORDS = st.lists(st.text("abc-/_,×–", min_size=1, max_size=12), min_size=1, max_size=20)
HEADS = ("name", "figure", "note")


def folded(text: str, width: int | None) -> list[str]:
    return [line.plain for line in layout.fold(Text(text), width)]


def table(rows: list[list[str]], width: int | None, *spare: str) -> tuple[list[str], list[str]]:
    cells = [[Text(cell) for cell in row] for row in rows]
    lines, left_out = layout.table(HEADS, cells, width, spare)
    return [line.plain for line in lines], left_out


@given(WORDS, st.integers(1, 40))
def test_folding_keeps_every_character_and_the_width(words: list[str], width: int) -> None:
    lines = folded(" ".join(words), width)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(words)


@given(WORDS)
def test_where_every_word_fits_none_is_broken(words: list[str]) -> None:
    assert " ".join(folded(" ".join(words), 12)).split() == words


def test_a_pipe_has_no_width() -> None:
    text = "word " * 100
    assert folded(text, None) == [text]


def test_a_folded_line_keeps_its_indent() -> None:
    assert folded("  one two three", 9) == ["  one two", "  three"]


def test_a_name_longer_than_the_line_breaks_at_its_joints() -> None:
    assert folded("meta-llama/Llama-3.1", 12) == ["meta-llama/", "Llama-3.1"]
    assert folded("abcdefgh", 3) == ["abc", "def", "gh"]


def test_colours_survive_folding() -> None:
    lines = layout.fold(Text.from_markup("[red]one two[/] three"), 4)
    assert [line.spans[0].style for line in lines[:2]] == ["red", "red"]


ROWS = [["long-name-of-a-thing", "12", "a note of several words"], ["b", "1,234", "short"]]


def test_figures_are_right_aligned_and_texts_left() -> None:
    lines, _ = table(ROWS, None)
    assert lines == [
        "name                  figure  note",
        "long-name-of-a-thing      12  a note of several words",
        "b                      1,234  short",
    ]


def test_a_text_folds_inside_its_column() -> None:
    lines, left_out = table(ROWS, 44)
    assert all(len(line) <= 44 for line in lines)
    assert left_out == []
    assert lines[1].split()[:4] == ["long-name-of-a-thing", "12", "a", "note"]
    assert lines[2].strip() == "several words"


def test_spare_columns_are_left_out_before_texts_fold() -> None:
    lines, left_out = table(ROWS, 44, "note")
    assert left_out == ["note"]
    assert lines[1] == "long-name-of-a-thing      12"
    assert table(ROWS, 120, "note")[1] == []


@given(
    st.lists(st.lists(st.text("abc 12-", max_size=30), min_size=3, max_size=3), max_size=5),
    st.integers(30, 120),
)
def test_no_width_loses_a_character(rows: list[list[str]], width: int) -> None:
    lines, left_out = table(rows, width)
    shown = sorted("".join(lines).replace(" ", ""))
    whole = [*HEADS, *(cell for row in rows for cell in row)]
    assert shown == sorted("".join(whole).replace(" ", ""))
    assert left_out == []


def test_headers_fold_at_their_joints_first() -> None:
    lines, _ = layout.table(("max_num_seqs", "kv"), [[Text("1"), Text("2")]], 10)
    assert [line.plain for line in lines] == ["max_  kv", "num_", "seqs", "1      2"]
