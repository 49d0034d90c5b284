"""Bad input, each with one clear error: the value, the rule, the nearest right thing, the way on.

Never a traceback, never a half-written file, and the exit code says whose turn it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import FIXED, SMALL, assert_refused, run, write

TRACE = "{synthetic: chat, requests: 150, rate: 4/s, seed: 1}"
HEADER = "arrival_s,input_tokens,output_tokens\n"


@dataclass(frozen=True)
class Bad:
    """A scenario that cannot be used: what to put in place of what, and what must be said."""

    name: str
    old: str
    new: str
    says: tuple[str, ...]
    code: int = 2


SCENARIOS = [
    Bad("unknown GPU", "h100_sxm", "h100_sxn", ("hardware.gpu", "`h100_sxn`", "`h100_sxm`?")),
    Bad(
        "unknown model",
        "Llama-3.1-8B-Instruct",
        "Llama-3.1-8B-Instrct",
        ("line 2", "model", "Instrct`", "did you mean", "servecast models"),
    ),
    Bad("unknown field", "name: small", "nam: small", ("line 1", "nam: unknown", "`name`?")),
    Bad("unknown option", "max_num_seqs", "max_num_seq", ("max_num_seq: ", "`max_num_seqs`?")),
    Bad("unknown shape", "chat", "chatt", ("workload.synthetic", "`chatt`", "`chat`?")),
    Bad("unknown engine", "vllm", "tensorrt-llm", ("engine.name", "tensorrt-llm", "name: trtllm")),
    Bad("unheard engine", "vllm", "ktransform", ("engine.name", "ktransform", "transformers")),
    Bad("unknown version", '"0.32"', '"9.99"', ("engine.version", "9.99", "0.32")),
    Bad("negative rate", "4/s", "-4/s", ("workload.rate", "`-4/s`", "above 0", "12/s")),
    Bad("rate without a unit", "4/s", "4 cows", ("workload.rate", "4 cows", "units:")),
    Bad("no requests", "requests: 150", "requests: 0", ("workload.requests", "`0`")),
    Bad("SLO without a unit", "500ms", "500", ("slo[0]", "`500`", "unit")),
    Bad("SLO without a statistic", "ttft:p95", "ttft", ("slo[0]", "ttft:p95", "statistic")),
    Bad("SLO the wrong way", "tpot:p95 <", "tpot:p95 >", ("slo[1]", "upper limit")),
    Bad("objective", "objective: cost", "objective: costs", ("objective", "`cost`?")),
    Bad("too many GPUs", "[1, 2]", "[4, 8]", ("tensor_parallel_size", "4 GPUs", "hardware.gpus 2")),
    Bad("no such split", "[1, 2]", "3", ("tensor_parallel_size", "divide")),
    Bad("too long a model", "8192", "999999", ("max_model_len", "`999999`", "131072 or less")),
    Bad("speculation", "replicas: auto", "speculative_config: {}", ("speculative decoding",)),
    Bad("a number as text", "gpus: 2", "gpus: two", ("hardware.gpus", "`two`")),
    Bad("no trace", TRACE, "{trace: nothing.csv}", ("workload.trace", "nothing.csv", "no file")),
    Bad("not YAML", "objective: cost", "objective: [cost", ("not YAML", "line")),
    Bad("twice", "objective: cost", "objective: cost\nname: b", ("name", "twice", "line 1")),
]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("verb", ["recommend", "check", "memory", "simulate"])
@pytest.mark.parametrize("bad", SCENARIOS, ids=lambda bad: bad.name)
def test_a_scenario_that_cannot_be_used(bad: Bad, verb: str) -> None:
    assert bad.old in SMALL
    write(Path(), SMALL.replace(bad.old, bad.new, 1))
    told = run(verb, "small.yaml", "--json")
    assert_refused(told, bad.code, "small.yaml", *bad.says)
    assert [path.name for path in Path().iterdir()] == ["small.yaml"]


TRACES = [
    ("empty", "", ("t.csv", "empty")),
    ("no requests", HEADER, ("t.csv", "no rows", "at least one request")),
    ("not a number", HEADER + "0,10,10\nnan,10,10\n", ("line 3", "nan")),
    ("tokens not a number", HEADER + "0,NaN,10\n", ("line 2", "NaN")),
    ("out of order", HEADER + "5,10,10\n1,10,10\n", ("line 3", "--sort")),
    ("a broken line", HEADER + "0,10,10\n1,10\n", ("line 3",)),
    ("no tokens at all", HEADER + "0,0,10\n", ("line 2", "`0`")),
    ("negative tokens", HEADER + "0,10,-1\n", ("line 2", "`-1`")),
    ("another table", "a,b\n1,2\n", ("t.csv", "input_tokens", "columns: a, b")),
    ("no text", "\x00\x01\x02", ("t.csv",)),
]


@pytest.mark.parametrize(("text", "says"), [t[1:] for t in TRACES], ids=[t[0] for t in TRACES])
@pytest.mark.parametrize("verb", ["recommend", "simulate", "trace stats", "trace convert"])
def test_a_trace_that_cannot_be_used(verb: str, text: str, says: tuple[str, ...]) -> None:
    Path("t.csv").write_text(text)
    write(Path(), FIXED.replace(TRACE, "{trace: t.csv}"))
    arguments = {"trace stats": ["t.csv"], "trace convert": ["t.csv", "u.csv"]}
    told = run(*verb.split(), *arguments.get(verb, ["small.yaml"]))
    assert_refused(told, 2, *says)
    assert sorted(path.name for path in Path().iterdir()) == ["small.yaml", "t.csv"]


def test_several_bad_lines_are_told_at_once() -> None:
    Path("t.csv").write_text(HEADER + "0,x,10\n1,10,y\n2,10,10\nz,10,10\n")
    told = run("trace", "stats", "t.csv")
    assert_refused(told, 2, "line 2", "line 3", "line 5")


@pytest.mark.parametrize("verb", ["recommend", "simulate", "memory", "check"])
@pytest.mark.parametrize(("path", "says"), [("nothing.yaml", "No such file"), (".", "directory")])
def test_a_scenario_that_is_missing_or_a_folder(verb: str, path: str, says: str) -> None:
    assert_refused(run(verb, path), 2, path, says, "servecast init")


def test_every_prompt_longer_than_the_model_allows() -> None:
    Path("t.csv").write_text(HEADER + "0,9000,10\n1,9001,10\n")
    for text, verb in ((FIXED, "simulate"), (FIXED, "recommend"), (SMALL, "recommend")):
        write(Path(), text.replace(TRACE, "{trace: t.csv}"))
        told = run(verb, "small.yaml")
        assert_refused(told, 2, "every prompt", "max_model_len 8192", "raise deployment.max_model")
        assert not Path("runs").exists()


TOO_LARGE = SMALL.replace("Llama-3.1-8B-Instruct", "Llama-3.1-405B-Instruct")


def test_a_model_that_fits_on_no_number_of_gpus() -> None:
    write(Path(), TOO_LARGE)
    told = run("recommend", "small.yaml")
    assert_refused(told, 3, "none of the 4 deployments", "weights need", "GiB of the", "72.8 GiB")
    assert not Path("runs").exists()
    settings = ("--set", "tensor_parallel_size=2", "--set", "max_num_seqs=32")
    told = run("simulate", "small.yaml", *settings)
    assert_refused(told, 3, "weights need", "72.8 GiB", "servecast memory")


def test_an_overload_is_called_one_and_not_a_large_latency() -> None:
    write(Path(), SMALL.replace("4/s", "900/s"))
    told = run("recommend", "small.yaml")
    assert told.code == 3
    assert "Binding: capacity." in told.out
    assert re.search(r"is overloaded: 8\d\d/s requests arrive and it serves \d", told.out)
    assert "hint: raise hardware.gpus" in told.err
    assert "Best deployment" not in told.out
    assert "start it" not in told.out
    assert "00000%" not in told.out, "no meaningless figure stands for an endless queue"


@pytest.mark.parametrize(
    ("old", "new", "binding"),
    [
        ("40ms", "1ms", "Binding: tpot:p95 < 1ms. The nearest miss reaches "),
        ("500ms", "2ms", "Binding: ttft:p95 < 2ms. The nearest miss reaches "),
        ('"attainment > 90%"', '"e2e:p95 < 5ms"', "Binding: e2e:p95 < 5ms. "),
        ('"attainment > 90%"', '"throughput > 1e9 tok/s"', "Binding: throughput > "),
    ],
)
def test_an_slo_that_nothing_meets(old: str, new: str, binding: str) -> None:
    write(Path(), SMALL.replace(old, new))
    told = run("recommend", "small.yaml")
    assert told.code == 3
    assert binding in told.out
    assert "Nearest miss\n" in told.out
    assert "missed" in told.out
    assert "better" not in told.out, "a gain between two ways to fail"
    assert "hint: " in told.err


def test_a_missed_answer_as_json() -> None:
    write(Path(), SMALL.replace("40ms", "1ms"))
    told = run("recommend", "small.yaml", "--json")
    assert told.code == 3
    assert told.err == ""
    found = told.json
    assert found["meets_slo"] is False
    assert found["binding"].startswith("Binding: tpot:p95")
    assert found["hint"]
    assert found["slo"][1]["met"] is False


@pytest.mark.parametrize("runs", ["/proc/1/runs", "small.yaml", "small.yaml/runs"])
def test_a_folder_that_cannot_be_written_is_told_before_the_search(runs: str) -> None:
    write(Path(), SMALL.replace("requests: 150", "requests: 500000"))
    assert_refused(run("recommend", "small.yaml", "--runs", runs), 2, runs, "cannot be written")
    assert [path.name for path in Path().iterdir()] == ["small.yaml"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "small.yaml", "--records", "/proc/1/r.csv"),
        ("init", "/proc/1/s.yaml"),
        ("init", "small.yaml/s.yaml"),
        ("trace", "synthesize", "chat", "/proc/1/t.csv"),
    ],
)
def test_a_file_that_cannot_be_written(arguments: tuple[str, ...]) -> None:
    write(Path(), FIXED)
    assert_refused(run(*arguments), 2, "cannot be written", "writ")


def test_an_slo_on_what_has_no_value_says_so() -> None:
    lengths = "{synthetic: fixed, input_tokens: 100, output_tokens: 1, requests: 40, rate: 3/s}"
    write(Path(), SMALL.replace(TRACE, lengths))
    told = run("recommend", "small.yaml")
    assert told.code == 3
    assert "Binding: tpot:p95 < 40ms. It has no value here" in told.out
    assert "take that SLO out" in told.err
