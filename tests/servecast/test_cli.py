"""The command line as a whole: exit codes, streams, colours, widths, mistyped words."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from servecast import __version__
from tests.command import (
    FIXED,
    SMALL,
    environment,
    plain,
    run,
    run_in_terminal,
    run_process,
    write,
)

VERBS = (
    "recommend",
    "simulate",
    "calibrate",
    "memory",
    "predict",
    "validate",
    "models",
    "gpus",
    "init",
    "check",
)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def test_the_version() -> None:
    assert run("--version").out == f"servecast {__version__}\n"


def test_help_names_every_verb_and_every_exit_code_in_whole_sentences() -> None:
    told = run("--help")
    assert told.code == 0
    for verb in (*VERBS, "trace"):
        assert re.search(rf"^  {verb}  +\S", told.out, re.MULTILINE), verb
    assert "0 done, 1 failed, 2 wrong usage or input, 3 no deployment" in " ".join(told.out.split())
    for help_ in (told, run("trace", "--help")):
        assert "..." not in help_.out.partition("Commands:")[2], "cut to fit the line"


@pytest.mark.parametrize("verb", [*VERBS, "trace stats", "trace convert", "trace synthesize"])
def test_every_verb_has_help_and_the_common_options(verb: str) -> None:
    told = run(*verb.split(), "-h")
    assert told.code == 0
    for option in ("--json", "--quiet", "--no-color"):
        assert option in told.out


def test_no_verb_at_all_shows_the_help() -> None:
    told = run()
    assert told.code == 2
    assert "recommend" in told.out + told.err


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["recomend"], "'recommend'"),
        (["simulte", "x.yaml"], "'simulate'"),
        (["recommend", "--currnt", "x"], "--current"),
        (["trace", "stat", "x"], "'stats'"),
    ],
)
def test_a_mistyped_word_is_usage_with_the_near_miss(words: list[str], near: str) -> None:
    told = run(*words)
    assert told.code == 2
    assert near in told.err
    assert not told.out
    assert "╭" not in told.err, "plain text, not a box"


def test_exit_codes() -> None:
    write(Path(), FIXED, "good.yaml")
    write(Path(), FIXED.replace("500ms", "1ms"), "bad.yaml")
    assert run("simulate", "good.yaml").code == 0
    assert run("simulate", "bad.yaml").code == 3
    assert run("simulate", "nothing.yaml").code == 2
    assert run("recommend", "bad.yaml").code == 3


def test_errors_go_to_stderr_as_error_and_hint() -> None:
    told = run("gpus", "h200x")
    assert told.code == 2
    assert told.out == ""
    assert re.fullmatch(r"error: GPU `h200x` is unknown\n  known: .*\n\nhint: .*\n", told.err)


def test_quiet_says_nothing_beside_the_answer() -> None:
    write(Path())
    loud, quiet = run("recommend", "small.yaml"), run("recommend", "small.yaml", "-q")
    assert loud.err
    assert quiet.err == ""
    assert quiet.out == loud.out


def test_quiet_does_not_hide_an_error() -> None:
    assert "error:" in run("gpus", "h200x", "--quiet").err


def test_a_pipe_gets_no_colours_and_no_progress() -> None:
    write(Path())
    told = run("recommend", "small.yaml")
    assert "\x1b" not in told.out + told.err


def test_colours_are_left_out_where_they_are_not_wanted() -> None:
    write(Path(), FIXED)
    verb, here = ("simulate", "small.yaml", "-q"), Path.cwd()
    with_colour = run_in_terminal(100, *verb, cwd=here)
    assert "\x1b[32m" in with_colour
    for without in (
        run_in_terminal(100, *verb, "--no-color", cwd=here),
        run_in_terminal(100, *verb, cwd=here, NO_COLOR="1"),
    ):
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", without)
        assert plain(without) == plain(with_colour), "nothing is said by colour alone"


@pytest.mark.parametrize("columns", [80, 120])
def test_nothing_is_cut_or_ragged_in_a_terminal(columns: int) -> None:
    write(Path())
    shown = plain(run_in_terminal(columns, "recommend", "small.yaml", "-q", cwd=Path.cwd()))
    lines = shown.splitlines()
    assert all(len(line) <= columns for line in lines), max(lines, key=len)
    assert "…" not in shown
    for whole in (
        "ttft:p95 < 500ms",
        "tensor_parallel_size 1 · max_num_seqs",
        "start it   runs/small/deploy/1/serve.sh",
        "per million output tokens",
    ):
        assert any(whole in line for line in lines), whole


def test_a_terminal_says_in_other_lines_what_a_pipe_says() -> None:
    write(Path())
    piped = run("recommend", "small.yaml").out
    shown = plain(run_in_terminal(80, "recommend", "small.yaml", "-q", cwd=Path.cwd()))
    assert shown.split() == piped.split()


def test_a_long_path_is_not_broken_in_a_terminal() -> None:
    write(Path())
    runs = "/".join(["runs", *["a-folder-with-a-long-name"] * 4])
    shown = plain(
        run_in_terminal(80, "recommend", "small.yaml", "-q", "--runs", runs, cwd=Path.cwd())
    )
    assert f"start it   {runs}/small/deploy/1/serve.sh" in shown


def test_a_name_with_brackets_is_printed_as_it_is() -> None:
    write(Path())
    told = run("recommend", "small.yaml", "--runs", "[red]runs[/]")
    assert told.code == 0
    assert "[red]runs[/]/small/deploy/1/serve.sh" in told.out


def test_progress_is_shown_in_a_terminal_and_gone_at_the_end() -> None:
    write(Path())
    shown = run_in_terminal(80, "recommend", "small.yaml", cwd=Path.cwd())
    assert "0/?" not in shown
    assert shown.index("simulating the promising") < shown.index("Best deployment")


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m servecast models | head -1"
    done = subprocess.run(
        ["bash", "-c", command], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("model")
    assert "Traceback" not in done.stderr


def test_ctrl_c_leaves_nothing_half_written() -> None:
    write(Path(), SMALL.replace("requests: 150", "requests: 400000"))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "servecast", "recommend", "small.yaml"],
        env=environment(TERM="xterm"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = b""
        while b"simulating" not in said:
            said += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of the terminal
            while part := os.read(ours, 4096):
                said += part
        out, _ = process.communicate(timeout=20)
    os.close(ours)
    assert process.returncode == 130
    assert out == b""
    assert plain(said.decode()).endswith("interrupted: nothing half-written was kept\r\n")
    assert [path.name for path in Path().iterdir()] == ["small.yaml"]


def test_it_runs_as_a_module() -> None:
    assert run_process("--version", cwd=Path.cwd()).out == f"servecast {__version__}\n"
