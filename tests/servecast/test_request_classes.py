"""Classes of requests in a scenario: mixed, promised to, simulated, paid for, recorded."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from servecast.loading import loads
from tests.command import FIXED, SMALL, assert_refused, run, write
from tests.servecast.minimal import FIXED as MINIMAL
from tests.servecast.minimal import faults

MIX = """\
workload:
  mix:
    chat: {synthetic: chat, requests: 120, rate: 3/s}
    batch: {synthetic: fixed, input_tokens: 3000, output_tokens: 20, requests: 40, rate: 1/s}
"""
PLAIN = "workload: {synthetic: chat, requests: 150, rate: 4/s, seed: 1}\n"
LINES = 'slo: ["ttft:p95 < 500ms", "tpot:p95 < 40ms", "attainment > 90%"]\n'
PROMISES = """\
slo:
  - attainment > 90%
  - chat: "ttft:p95 < 1s"
    batch: ["e2e:p95 < 30s", "attainment > 90%"]
"""


def mixed(text: str = FIXED, promises: str = PROMISES) -> str:
    assert PLAIN in text
    assert LINES in text
    return text.replace(PLAIN, MIX).replace(LINES, promises)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def simulated(text: str, *arguments: object) -> dict[str, Any]:
    write(Path(), text)
    return run("simulate", "small.yaml", "--json", *arguments).json


def test_slos_stand_under_the_name_of_their_class() -> None:
    told = [str(slo) for slo in loads(mixed()).slo]
    assert told == [
        "attainment > 90%",
        "chat: ttft:p95 < 1s",
        "batch: e2e:p95 < 30s",
        "batch: attainment > 90%",
    ]
    as_mapping = mixed(promises="slo: {chat: 'ttft:p95 < 1s'}\n")
    as_line = mixed(promises="slo: 'chat: ttft:p95 < 1s'\n")
    assert loads(as_mapping).slo == loads(as_line).slo
    assert loads(loads(mixed()).dump()) == loads(mixed())


def test_each_class_has_its_figures_and_pays_for_its_steps() -> None:
    found = simulated(mixed())
    chat, batch = found["classes"]["chat"], found["classes"]["batch"]
    assert (found["requests"], chat["requests"], batch["requests"]) == (160, 120, 40)
    assert batch["latency_s"]["ttft"]["p50"] > chat["latency_s"]["ttft"]["p50"]
    assert chat["step_share"] + batch["step_share"] == pytest.approx(1.0)
    assert [slo["slo"] for slo in found["slo"]][1:3] == [
        "chat: ttft:p95 < 1s",
        "batch: e2e:p95 < 30s",
    ]
    assert found["slo"][1]["value"] == chat["latency_s"]["ttft"]["p95"]
    for unit in ("usd", "wh"):
        name = f"{unit}_per_million_output_tokens"
        tokens = [each["output_tokens_per_s"] for each in (chat, batch)]
        paid = sum(each[name] * rate for each, rate in zip((chat, batch), tokens, strict=True))
        assert paid == pytest.approx(found[name] * found["output_tokens_per_s"])
    assert batch["usd_per_million_output_tokens"] > chat["usd_per_million_output_tokens"]


def test_the_answer_has_a_row_for_each_class() -> None:
    write(Path(), mixed())
    told = run("simulate", "small.yaml")
    assert told.code == 0, told.err
    rows = [line.split()[:2] for line in told.out.splitlines()]
    assert ["chat", "120"] in rows
    assert ["batch", "40"] in rows
    write(Path(), FIXED)
    assert "\nclass" not in run("simulate", "small.yaml").out


def test_records_name_the_class() -> None:
    simulated(mixed(), "--records", "r.csv")
    with Path("r.csv").open(encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert [row["class"] for row in rows].count("batch") == 40
    assert {row["prompt_tokens"] for row in rows if row["class"] == "batch"} == {"3000"}


def test_a_trace_with_classes_is_mixed_looked_at_and_promised_to() -> None:
    run("trace", "synthesize", "chat", "a.csv", "--requests", "60", "--rate", "4/s")
    run("trace", "synthesize", "code", "b.csv", "--requests", "30", "--rate", "2/s")
    told = run("trace", "mix", "m.csv", "chat=a.csv", "code=b.csv", "--json")
    assert told.json == {"written": "m.csv", "requests": 90}
    stats = run("trace", "stats", "m.csv", "--json").json
    assert [(each["name"], each["requests"]) for each in stats["classes"]] == [
        ("chat", 60),
        ("code", 30),
    ]
    assert "\nclass" in run("trace", "stats", "m.csv").out
    replayed = FIXED.replace(PLAIN, "workload: {trace: m.csv}\n").replace(LINES, "slo: []\n")
    assert simulated(replayed)["classes"]["code"]["requests"] == 30
    assert_refused(run("trace", "mix", "m.csv", "not this=a.csv"), 2, "is no name of a class")


def test_an_slo_of_a_class_that_nobody_names_is_refused_with_the_nearest() -> None:
    write(Path(), mixed(promises="slo: ['chats: ttft:p95 < 1s']\n"))
    for verb in ("simulate", "recommend"):
        told = run(verb, "small.yaml")
        assert_refused(told, 2, "class `chats` is unknown", "known: batch, chat", "`chat`")
    write(Path(), FIXED.replace(LINES, "slo: ['chat: ttft:p95 < 1s']\n"))
    assert_refused(run("simulate", "small.yaml"), 2, "no request of the workload names one")


def test_recommend_keeps_the_slo_of_each_class() -> None:
    write(Path(), mixed(SMALL))
    found = run("recommend", "small.yaml", "--json").json
    assert found["meets_slo"]
    assert [each["met"] for each in found["slo"]] == [True] * 4
    write(Path(), mixed(SMALL, "slo: {batch: 'ttft:p95 < 20ms'}\n"))
    told = run("recommend", "small.yaml")
    assert told.code == 3
    assert "Binding: batch: ttft:p95 < 20ms" in told.out


@pytest.mark.parametrize(
    ("workload", "place", "words"),
    [
        ("{mix: {}}", "workload.mix", "at least 1"),
        ("{mix: {chat: {synthetic: chat, requests: 5}}}", "workload.mix.chat", "neither rate"),
        (
            "{mix: {chat: {synthetic: chat, requests: 5, concurrency: 2}}}",
            "workload.mix.chat",
            "is a closed loop",
        ),
        ("{mix: {chat: {requests: 5}}}", "workload.mix.chat", "neither or both"),
        ("{mix: {chat: {synthetic: chat}}, trace: t.csv}", "workload", "none or several"),
    ],
)
def test_what_cannot_be_mixed_is_named_with_its_place(
    workload: str, place: str, words: str
) -> None:
    lines = [line for line in MINIMAL.splitlines() if not line.startswith("workload")]
    found = faults("\n".join([*lines, f"workload: {workload}"]))
    assert words in found[place], found


def test_a_share_of_a_class_needs_a_limit_of_it() -> None:
    text = MINIMAL.replace('["ttft:p95 < 500ms"]', '["a: ttft:p95 < 1s", "b: attainment > 9%"]')
    assert "attainment needs an SLO of ttft, tpot or e2e" in faults(text)["slo[1]"]
