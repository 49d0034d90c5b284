"""Which class of service each request belongs to, from the file to the mix."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.traces.classes import MAX_CLASSES, NOBODY, Classes
from servecast.traces.excerpts import mixed, of_class
from servecast.traces.readers import layout, read
from servecast.traces.reshape import head
from servecast.traces.workload import Workload
from servecast.traces.writers import write

ROWS = (
    "arrival_s,input_tokens,output_tokens,class\n0,10,1,chat\n1,20,2,\n2,30,3,batch\n3,40,4,chat\n"
)
NAMES = st.sampled_from(["chat", "batch", "gold-1", "überlang", "v1.2_x"])


def requests(count: int, name: str = "w") -> Workload:
    number = np.arange(count, dtype=np.int64)
    return Workload(name, number * 10**9, number + 1, number + 1, number + 1)


def labels(workload: Workload) -> list[str]:
    assert workload.classes is not None
    return workload.classes.labels()


def test_a_column_names_the_class_and_a_blank_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(ROWS)
    assert labels(read(path)) == ["chat", "default", "batch", "chat"]
    assert layout(path).request_class == "class"
    path.write_text(ROWS.replace(",class", ",slo_class"))
    assert labels(read(path)) == ["chat", "default", "batch", "chat"]


def test_a_file_without_such_a_column_names_no_classes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n0,10,1\n")
    assert read(path).classes is None


@settings(max_examples=30, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=12), st.sampled_from([".csv", ".csv.gz", ".jsonl"]))
def test_what_is_written_reads_back(names: list[str], suffix: str) -> None:
    written = replace(requests(len(names)), classes=Classes.of(names))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"w{suffix}"
        write(written, path)
        assert labels(read(path)) == names


@given(st.lists(NAMES, min_size=1), st.data())
def test_a_part_keeps_each_request_s_class_and_forgets_the_others(
    names: list[str], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, len(names) - 1)))
    part = Classes.of(names).take(np.array(rows, np.int64))
    assert part.labels() == [names[row] for row in rows]
    assert set(part.names) == {names[row] for row in rows}


def test_a_mix_keeps_classes_and_gives_the_others_the_default() -> None:
    chat, plain = of_class(requests(3, "a"), "chat"), requests(2, "b")
    assert sorted(labels(mixed([chat, plain]))) == ["chat"] * 3 + ["default"] * 2
    assert sorted(labels(mixed([chat, of_class(plain, "chat")]))) == ["chat"] * 5
    assert mixed([plain, plain]).classes is None
    assert labels(head(mixed([chat, plain]), 1)) == ["chat"]


def test_an_unknown_class_is_refused_with_the_nearest() -> None:
    classes = Classes.of(["chat", "batch"])
    assert classes.number("batch") == 1
    with pytest.raises(InputError, match="class `chats` is unknown") as told:
        classes.number("chats")
    assert "did you mean `chat`?" in str(told.value.hint)
    with pytest.raises(InputError, match="no request of the workload names one"):
        NOBODY.number("chat")


@pytest.mark.parametrize("name", ["two words", "a,b", "x" * 41, "-x", "a:b", "a<b"])
def test_what_cannot_stand_in_an_slo_is_no_name(name: str) -> None:
    with pytest.raises(InputError, match="is no name of a class"):
        Classes.of([name])


def test_a_column_of_identifiers_is_no_column_of_classes() -> None:
    with pytest.raises(InputError, match=f"more than {MAX_CLASSES} classes"):
        Classes.of([f"user{number}" for number in range(MAX_CLASSES + 1)])
