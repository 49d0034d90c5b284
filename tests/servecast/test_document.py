"""YAML that is no scenario: one error for no document, faults for its form."""

from __future__ import annotations

import pytest

from servecast.errors import InputError
from servecast.loading import loads
from tests.servecast.minimal import FIXED, faults


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: [a\nhardware: 3", "line 2"),
        ("model: 'a", "is not YAML"),
        ("", "holds no fields"),
        ("- a", "holds no fields"),
        ("a: &x 1\nb: *x", "line 2: the alias *x is not accepted"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a: \x00", "is not YAML"),
    ],
)
def test_what_is_no_document_is_one_error(text: str, words: str) -> None:
    with pytest.raises(InputError) as told:
        loads(text)
    assert words in told.value.message
    assert "\n" not in told.value.message


def test_duplicate_keys_are_told_with_both_lines() -> None:
    assert "first on line 7" in faults(FIXED + "objective: goodput\n")["objective"]


@pytest.mark.parametrize("value", ["0x" + "f" * 40, "!!int abc", "!!python/name:os.system x"])
def test_values_that_are_no_plain_yaml_are_faults(value: str) -> None:
    assert set(faults(FIXED + f"seed: {value}\n")) == {"seed"}


def test_keys_that_are_no_text_are_faults() -> None:
    assert "is not text" in faults(FIXED + "1: 2\n")[""]
