"""Commands mistyped: start commands, settings, options, names. One clear error each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import assert_refused, run, write


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


CURRENT = [
    ("vllm serve Qwen/Qwen3-8B", ("serves `Qwen/Qwen3-8B`", "Llama-3.1-8B", "same model")),
    ("vllm serve nobody/nothing", ("nobody/nothing", "servecast models")),
    ("vllm serve {m} --async-scheduling", ("not modelled", "--async-scheduling")),
    (
        "vllm serve {m} --max-num-sequences 8",
        ("`--max-num-sequences`", "did you mean `--max-num-seqs`?"),
    ),
    ("vllm serve {m} -tp four", ("`four`", "whole number", "--tensor-parallel-size 8")),
    ("vllm serve {m} -tp 8", ("needs 8 GPUs", "budget is 2", "hardware.gpus to 8")),
    ("vllm serve {m} -tp 3", ("do not divide", "1, 2, 4, 8")),
    ("vllm serve {m} -tp 16", ("16", "share a node", "8 or less")),
    (
        "vllm serve {m} --gpu-memory-utilization 0.1",
        ("would not start", "weights need", "hardware.gpu"),
    ),
    ("vllm serve {m} --config c.yaml", ("--config", "write the file's options")),
    ("sglang serve {m}", ("vllm serve MODEL",)),
    ("vllm serve", ("names no model", "vllm serve MODEL")),
    ("vllm serve 'open", ("quot",)),
]


@pytest.mark.parametrize(("command", "says"), CURRENT, ids=[c[0] for c in CURRENT])
def test_a_command_that_cannot_be_compared_with(command: str, says: tuple[str, ...]) -> None:
    write(Path())
    asked = command.format(m="meta-llama/Llama-3.1-8B-Instruct")
    assert_refused(run("recommend", "small.yaml", "--current", asked), 2, *says)
    assert not Path("runs").exists()


SETTINGS = [
    ((), ("leaves tensor_parallel_size, max_num_seqs open", "servecast recommend")),
    (("tensor_parallel_size=1",), ("leaves max_num_seqs open",)),
    (("tensor_parallel_size=4",), ("tensor_parallel_size `4`", "1, 2")),
    (("tensor_parallel_siz=1",), ("`tensor_parallel_siz`", "did you mean `tensor_parallel_size`")),
    (("block_size=16",), ("`block_size` is not an open choice", "tensor_parallel_size")),
    (("tensor_parallel_size",), ("name=value", "--set tensor_parallel_size=4")),
    (("tensor_parallel_size=",), ("tensor_parallel_size", "1, 2")),
    (("max_num_seqs=x",), ("max_num_seqs `x`", "32, 64")),
]


@pytest.mark.parametrize(("settings", "says"), SETTINGS)
def test_choices_that_are_open_or_wrongly_set(
    settings: tuple[str, ...], says: tuple[str, ...]
) -> None:
    write(Path())
    options = [word for setting in settings for word in ("--set", setting)]
    assert_refused(run("simulate", "small.yaml", *options), 2, *says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("recommend", "--trials", "0"), "--trials"),
        (("recommend", "--trials", "many"), "--trials"),
        (("trace", "synthesize", "chat", "t.csv", "--requests", "0"), "--requests"),
        (("simulate",), "scenario"),
        (("check",), "path"),
    ],
)
def test_wrong_usage_names_the_option(arguments: tuple[str, ...], says: str) -> None:
    told = run(*arguments)
    assert told.code == 2
    assert told.out == ""
    assert says in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gpus", "b300"), ("b300",)),
        (("gpus", "nonsense-zzz"), ("`nonsense-zzz`", "known: ", "servecast gpus")),
        (("models", "Llama-3.1-8b-instuct"), ("did you mean", "config.json")),
        (("models", "nothing/config.json"), ("nothing/config.json",)),
        (("trace", "synthesize", "chats", "t.csv"), ("did you mean `chat`?",)),
        (("trace", "synthesize", "chat", "t.csv", "--rate", "-1/s"), ("`-1/s`", "above 0")),
        (("trace", "synthesize", "chat", "t.parquet"), (".csv.gz",)),
        (("trace", "stats", "nothing.csv"), ("nothing.csv", "does not exist")),
        (("trace", "stats", "."), ("`.`",)),
    ],
)
def test_names_and_files_that_are_not_known(
    arguments: tuple[str, ...], says: tuple[str, ...]
) -> None:
    told = run(*arguments)
    if told.code == 0:
        assert arguments == ("gpus", "b300"), "an alias"
        return
    assert_refused(told, 2, *says)
    assert list(Path().iterdir()) == []
