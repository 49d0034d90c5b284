"""`servecast models`, `gpus` and `memory`: tables, JSON, names that are nearly right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from servecast.primitives import catalogue
from tests.command import FIXED, SMALL, plain, run, run_in_terminal, write


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def rows(*arguments: object) -> list[dict[str, Any]]:
    told = run(*arguments, "--json")
    assert told.code == 0
    assert told.err == ""
    return cast("list[dict[str, Any]]", told.json)  # these verbs print a list


def one(*arguments: object) -> dict[str, Any]:
    return run(*arguments, "--json").json


def test_every_model_is_a_line_with_its_whole_name() -> None:
    told = run("models")
    names = [line.split()[0] for line in told.out.splitlines()[1:]]
    assert names == [model.name for model in catalogue.models()]
    assert f"{len(names)} models" in told.err


def test_models_as_json() -> None:
    found = {row["model"]: row for row in rows("models")}
    llama = found["meta-llama/Llama-3.1-8B"]
    assert llama["params"] == pytest.approx(8.03e9, rel=0.01)
    assert (llama["layers"], llama["max_model_len"]) == (32, 131072)


def test_a_model_is_shown_layer_by_layer_in_words() -> None:
    told = run("models", "deepseek-ai/DeepSeek-V3")
    assert "latent attention, 128 heads, latent of 576" in told.out
    assert "8 of 256 experts of 2,048, shared 2,048" in told.out
    assert "(" not in told.out.partition("source")[0], "no class names"
    groups = one("models", "deepseek-ai/DeepSeek-V3")["layer_groups"]
    assert sum(group["count"] for group in groups) == 61
    assert groups[1]["ffn"]["experts"] == 256


@pytest.mark.parametrize("model", [model.name for model in catalogue.models()])
def test_every_model_can_be_shown(model: str) -> None:
    told = run("models", model)
    assert told.code == 0
    assert "feed-forward" in told.out


def test_every_gpu_is_a_line() -> None:
    names = [line.split()[0] for line in run("gpus").out.splitlines()[1:]]
    assert names == [gpu.name for gpu in catalogue.accelerators()]


def test_a_gpu_is_shown_with_its_source_and_price() -> None:
    told = run("gpus", "h100_sxm")
    assert "79.2 GiB" in told.out
    assert "source: " in told.out
    found = one("gpus", "h100_sxm")
    assert found["memory_bytes"] == catalogue.accelerator("h100_sxm").memory_bytes
    assert found["confidence"]


def test_what_has_no_link_has_none_in_the_table() -> None:
    assert "none 0 GB/s" not in run("gpus").out


@pytest.mark.parametrize("columns", [80, 120])
def test_catalogues_fit_a_terminal_with_every_name_whole(columns: int) -> None:
    for verb, names in (
        ("models", [model.name for model in catalogue.models()]),
        ("gpus", [gpu.name for gpu in catalogue.accelerators()]),
    ):
        shown = plain(run_in_terminal(columns, verb, cwd=Path.cwd()))
        assert all(len(line) <= columns for line in shown.splitlines())
        assert "…" not in shown
        assert [name for name in names if name not in shown.split()] == []
    if columns == 80:
        assert "left out in this narrow terminal: link" in shown


def test_the_memory_of_each_choice_is_a_row() -> None:
    write(Path())
    told = run("memory", "small.yaml")
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0] == "meta-llama/Llama-3.1-8B-Instruct on h100_sxm, GiB of one GPU"
    assert lines[2].split()[:2] == ["tensor_parallel_size", "max_num_seqs"]
    assert [line.split()[:2] for line in lines[3:7]] == [
        ["1", "32"],
        ["1", "64"],
        ["2", "32"],
        ["2", "64"],
    ]
    assert all(line.endswith("yes") for line in lines[3:7])
    assert "priors" in told.err


def test_memory_as_json_adds_up() -> None:
    write(Path())
    for row in rows("memory", "small.yaml"):
        spent = row["weights_bytes"] + row["non_torch_bytes"]
        spent += row["peak_activation_bytes"] + row["cuda_graph_bytes"]
        assert row["available_kv_bytes"] == row["requested_bytes"] - spent
        assert row["usable_blocks"] == row["num_gpu_blocks"] - 1
        assert row["does_not_start"] is None
        assert set(row["choice"]) == {"tensor_parallel_size", "max_num_seqs"}


def test_the_memory_of_a_fixed_scenario_is_one_row() -> None:
    write(Path(), FIXED)
    assert run("memory", "small.yaml").out.splitlines()[3].startswith("fixed ")


def test_what_does_not_start_says_why_once() -> None:
    told = run("memory")
    assert told.code == 0
    assert told.out.count("does not start: ") == 1
    assert "weights need 131.4 GiB" in told.out


def test_a_choice_that_the_engine_refuses_does_not_hide_the_others() -> None:
    text = SMALL.replace("[1, 2]", "[1, 3]").replace("gpus: 2", "gpus: 4")
    write(Path(), text)
    told = run("memory", "small.yaml")
    assert told.code == 0
    assert "do not divide by tensor_parallel_size 3" in told.out
    starts = [row["does_not_start"] is None for row in rows("memory", "small.yaml")]
    assert starts == [True, True, False, False]


def test_memory_fits_a_terminal() -> None:
    shown = plain(run_in_terminal(80, "memory", cwd=Path.cwd()))
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "…" not in shown
    assert "KV tokens" in shown
    assert "left out in this narrow terminal" in shown
