"""Parts between markers are replaced, and nothing else of a document is."""

from __future__ import annotations

import pytest

from benchmarks.marked_text import marks, replaced, table

BEGIN, END = marks("errors")
TEXT = f"before\n{BEGIN}\nold\n{END}\nafter\n"


def test_a_part_is_replaced_and_the_rest_is_not() -> None:
    found = replaced(TEXT, {"errors": "| new |\n"})
    assert found == f"before\n{BEGIN}\n| new |\n{END}\nafter\n"
    assert replaced(found, {"errors": "| new |"}) == found


@pytest.mark.parametrize("text", ["nothing", BEGIN, TEXT + TEXT])
def test_markers_have_to_be_there_once(text: str) -> None:
    with pytest.raises(ValueError, match="errors"):
        replaced(text, {"errors": "new"})


def test_a_table() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
