"""WEKA's agentic traces, in an excerpt made up here, and as published."""

from __future__ import annotations

import csv
import gzip
from math import isclose
from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.traces.readers import layout, read
from servecast.traces.sessions import Sessions
from servecast.traces.statistics import PrefixStatistics, statistics
from servecast.traces.workload import Workload

S = 1_000_000_000
HEADER = "session,row,agent,parent_row,t_s,type,model,input_tokens,output_tokens,api_s,think_s,"
REQUESTS = f"""{HEADER}n_blocks,ref,keep,stop
run_a,0,0,-1,0.0,n,big,640,20,2.5,0.0,10,-1,0,tool_use
run_a,1,1,0,0.0,n,small,128,0,1.0,0.0,2,-1,0,end_turn
run_a,2,1,0,4.0,n,small,256,7,1.0,3.0,4,1,2,end_turn
run_a,3,0,-1,9.5,n,big,1000,30,2.0,7.0,15,0,10,tool_use
run_a,4,0,-1,14.0,s,big,1000,30,,,15,3,15,
run_b,0,0,-1,0.0,n,big,700,40,1.0,0.0,10,-1,0,end_turn
"""
RUNS = """session,tool_tokens,system_tokens,n_requests,n_subagents
run_a,200,100,5,1
run_b,200,120,1,0
"""


def written(folder: Path, text: str = REQUESTS, runs: str | None = None) -> Path:
    if runs is not None:
        (folder / "runs_sessions.csv").write_text(runs)
    path = folder / "runs_requests.csv"
    path.write_text(text)
    return path


def sessions_of(workload: Workload) -> Sessions:
    assert workload.sessions is not None
    return workload.sessions


def sharing(workload: Workload) -> PrefixStatistics:
    found = statistics(workload).prefixes
    assert found is not None
    return found


def extents(workload: Workload) -> list[list[tuple[int, int]]]:
    assert workload.prefixes is not None
    return workload.prefixes.all_extents()


def test_requests_follow_their_agent_and_a_sub_agent_the_row_that_started_it(
    tmp_path: Path,
) -> None:
    workload = read(written(tmp_path))
    assert sessions_of(workload).follows.tolist() == [-1, 0, 1, 0, 3, -1]
    assert workload.prompt_tokens.tolist() == [640, 128, 256, 1000, 1000, 700]
    assert workload.name == "runs_requests"
    assert "Apache-2.0" in workload.attribution


def test_a_missing_pause_is_the_time_that_was_between(tmp_path: Path) -> None:
    """Row 4 begins at 14 s, and the row before it ended at 9.5 + 2 s."""
    pauses_ns = sessions_of(read(written(tmp_path))).think_ns.tolist()
    assert pauses_ns == [0, 0, 3 * S, 7 * S, 2_500_000_000, 0]


def test_an_output_of_nothing_ends_at_its_first_token(tmp_path: Path) -> None:
    assert read(written(tmp_path)).output_tokens.tolist() == [20, 1, 7, 30, 30, 40]


def test_prompts_share_with_the_row_that_they_refer_to(tmp_path: Path) -> None:
    found = extents(read(written(tmp_path)))
    assert found == [
        [(0, 10)],
        [(10, 2)],
        [(10, 4)],
        [(0, 10), (14, 5)],
        [(0, 10), (14, 5)],
        [(19, 10)],
    ]


def test_runs_share_openings_of_equal_length_where_the_table_of_runs_lies_beside(
    tmp_path: Path,
) -> None:
    """Tools of 200 tokens fill 3 blocks; with 100 or 120 more they fill 4 and 5."""
    found = extents(read(written(tmp_path, runs=RUNS)))
    first, second = found[0], found[-1]
    assert first[0] == second[0] == (0, 3)
    assert first[1:] == [(3, 7)]
    assert second[1][0] > 9
    assert sum(length for _, length in second) == 10


def test_the_layout_names_what_the_reader_takes(tmp_path: Path) -> None:
    found = layout(written(tmp_path))
    assert (found.format, found.ignored) == ("weka", ("type", "model", "n_blocks", "stop"))


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("run_a,3,0,-1", "run_a,7,0,-1", "line 5: row is `7`"),
        ("run_a,1,1,0", "run_a,1,1,1", "line 3: parent_row is `1`"),
        ("4,1,2,end", "4,2,2,end", "line 4: ref is `2`"),
        ("15,0,10,", "15,0,11,", "line 5: keep is `11`"),
        (",7.0,15", ",-7.0,15", "line 5: think_s is `-7.0`"),
        (",20,2.5", ",-1,2.5", "line 2: output_tokens is `-1`"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, good: str, bad: str, told: str) -> None:
    assert good in REQUESTS
    with pytest.raises(InputError, match=told):
        read(written(tmp_path, REQUESTS.replace(good, bad)))


def test_a_bad_table_of_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`tool_tokens`"):
        read(written(tmp_path, runs=RUNS.replace("tool_tokens", "tools")))


def test_a_limit_takes_the_first_rows_and_none_at_all_is_refused(tmp_path: Path) -> None:
    assert len(read(written(tmp_path), limit=4)) == 4
    with pytest.raises(InputError, match="no rows"):
        read(written(tmp_path, REQUESTS[: REQUESTS.index("\n") + 1]))


def test_the_published_runs_are_as_the_sheet_has_them(data_dir: Path, tmp_path: Path) -> None:
    """49,334 rows, 710 runs, 0.963 of blocks found within a run, pauses of 10 s and 50 min."""
    published = data_dir / "traces" / "weka_agentic_requests.csv.gz"
    alone = tmp_path / "requests.csv.gz"
    alone.write_bytes(published.read_bytes())
    workload = read(alone)
    found = statistics(workload)
    assert found.sessions is not None
    assert (found.rows, found.sessions.sessions) == (49_334, 710)
    inputs, outputs = found.input_tokens, found.output_tokens
    assert [round(inputs.mean), round(inputs.p95), round(inputs.p99)] == [122_379, 300_666, 498_519]
    assert isclose(inputs.p50, 103_660, abs_tol=1)
    assert [round(outputs.mean), outputs.p50, outputs.p95] == [440, 216, 1554]
    assert isclose(outputs.p99, 3686, abs_tol=1)
    assert found.sessions.think_p50_s == 10
    assert isclose(found.sessions.think_p99_s, 50 * 60, rel_tol=0.02)

    within = sharing(workload)
    with gzip.open(published, "rt") as text:
        rows = list(csv.DictReader(text))
    kept, listed = (sum(int(row[name]) for row in rows) for name in ("keep", "n_blocks"))
    assert (within.blocks, within.blocks - within.unique_blocks) == (listed, kept)
    assert round(within.block_hit, 3) == 0.963
    apart, together = (sharing(read(path, limit=5000)).block_hit for path in (alone, published))
    assert apart < together < apart + 0.003
