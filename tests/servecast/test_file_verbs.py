"""`servecast init`, `check` and `trace`: files written whole, read back, and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servecast.loading import load
from servecast.traces.readers import read
from tests.command import FIXED, SMALL, run, write


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def as_json(*arguments: object) -> dict[str, Any]:
    told = run(*arguments, "--json")
    assert told.code == 0, told.err
    assert told.err == ""
    return told.json


def test_init_writes_a_scenario_that_is_valid_and_recommended_for() -> None:
    told = run("init")
    assert told.out == "wrote scenario.yaml\n"
    assert told.err == "\nnext: servecast recommend scenario.yaml\n"
    assert load("scenario.yaml").space().size > 1
    assert run("check", "scenario.yaml").code == 0
    assert "#" in Path("scenario.yaml").read_text(), "every field is explained"


def test_init_takes_a_name_and_makes_its_folder() -> None:
    assert as_json("init", "new/mine.yaml") == {"written": "new/mine.yaml"}
    assert load("new/mine.yaml").name == "my-service"


def test_init_does_not_overwrite() -> None:
    Path("scenario.yaml").write_text("mine")
    told = run("init")
    assert told.code == 2
    assert "scenario.yaml exists" in told.err
    assert "--force" in told.err
    assert Path("scenario.yaml").read_text() == "mine"
    assert run("init", "--force").code == 0
    assert Path("scenario.yaml").read_text() != "mine"


def test_init_leaves_folders_alone_even_when_forced() -> None:
    Path("folder").mkdir()
    told = run("init", "folder", "--force")
    assert told.code == 2
    assert "folder is a folder" in told.err
    assert "folder/scenario.yaml" in told.err


def test_check_says_what_can_be_done_with_a_scenario() -> None:
    write(Path())
    assert run("check", "small.yaml").out == (
        "small.yaml is valid (4 choices: recommend among them)\n"
    )
    write(Path(), FIXED)
    assert run("check", "small.yaml").out == "small.yaml is valid (fixed: simulate it)\n"
    write(Path(), SMALL)
    assert as_json("check", "small.yaml")["open"]["tensor_parallel_size"] == [1, 2]


def test_check_tells_all_errors_at_once_each_with_its_line() -> None:
    text = SMALL.replace("h100_sxm", "h100x").replace("4/s", "-4/s").replace("40ms", "40")
    write(Path(), text + "trafic: 1\n")
    told = run("check", "small.yaml")
    assert told.code == 2
    assert "small.yaml has 4 errors" in told.err
    for words in ("line 3  hardware.gpu: ", "workload.rate: ", "slo[1]: ", "trafic: unknown"):
        assert words in told.err, words
    assert told.err.count("\n  line ") == 4


def test_a_synthetic_trace_is_written_read_and_looked_at() -> None:
    written = as_json("trace", "synthesize", "chat", "t.csv.gz", "--requests", "400")
    assert written == {"written": "t.csv.gz", "requests": 400}
    found = as_json("trace", "stats", "t.csv.gz")
    assert found["rows"] == 400
    assert found["input_tokens"]["mean"] == pytest.approx(1150, rel=0.2)
    told = run("trace", "stats", "t.csv.gz").out
    assert "400 requests" in told
    assert "index of dispersion" in told
    assert "p99" in told


def test_the_same_seed_draws_the_same_file() -> None:
    for name, seed in (("a.csv.gz", 3), ("b.csv.gz", 3), ("c.csv.gz", 4)):
        run("trace", "synthesize", "code", name, "--requests", "50", "--seed", seed)
    a, b, c = (Path(f"{name}.csv.gz").read_bytes() for name in "abc")
    assert a == b != c


def test_a_trace_is_converted_cut_and_stretched() -> None:
    run("trace", "synthesize", "chat", "t.csv", "--requests", "100", "--rate", "2/s")
    told = run("trace", "convert", "t.csv", "u.jsonl", "--requests", "40", "--rate", "10/s")
    assert told.out == "wrote u.jsonl: 40 requests\n"
    before, after = read("t.csv"), read("u.jsonl")
    assert len(after) == 40
    assert after.rate_per_s == pytest.approx(10, rel=1e-6)
    np.testing.assert_array_equal(after.prompt_tokens, before.prompt_tokens[:40])


def test_a_span_is_cut_out_thinned_and_written_as_mooncakes() -> None:
    rows = "".join(f"{second},10,3\n" for second in range(100))
    Path("t.csv").write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    told = run(
        "trace", "convert", "t.csv", "u.jsonl", "--from", "20s", "--to", "1min", "--mooncake"
    )
    assert told.out == "wrote u.jsonl: 40 requests\n"
    assert '"timestamp": 1000, "input_length": 10' in Path("u.jsonl").read_text()
    run("trace", "convert", "t.csv", "v.csv", "--thin", "0.3", "--seed", "4")
    assert 10 < len(read("v.csv")) < 50


def test_ticks_are_spread_and_traces_mixed() -> None:
    Path("t.csv").write_text("arrival_s,input_tokens,output_tokens\n0,1,1\n0,2,1\n3,3,1\n")
    run("trace", "convert", "t.csv", "u.csv", "--spread-ticks")
    assert list(read("u.csv").arrival_ns) == [0, 1_500_000_000, 3_000_000_000]
    told = run("trace", "mix", "m.csv", "t.csv", "u.csv")
    assert told.out == "wrote m.csv: 6 requests\n"
    assert list(read("m.csv").prompt_tokens) == [1, 2, 1, 2, 3, 3]


def test_out_of_order_arrivals_are_mended_when_asked() -> None:
    Path("t.csv").write_text("arrival_s,input_tokens,output_tokens\n2,10,10\n1,20,20\n")
    assert run("trace", "convert", "t.csv", "u.csv").code == 2
    assert not Path("u.csv").exists()
    assert run("trace", "convert", "t.csv", "u.csv", "--sort").code == 0
    assert list(read("u.csv").prompt_tokens) == [20, 10]


def test_a_public_trace_keeps_its_credit(data_dir: Path) -> None:
    told = run("trace", "stats", data_dir / "traces" / "azure2023_conv.csv.gz")
    assert "19,366 requests" in told.out
    assert "CC-BY-4.0" in told.err
