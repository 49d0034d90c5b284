"""Running `servecast` as a user does: in this process, in another, and in a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from servecast.cli import main

ROOT = Path(__file__).parents[1]
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Run:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as one JSON object, and nothing but that."""
        return cast("dict[str, Any]", json.loads(self.out))


def run(*arguments: object) -> Run:
    """`servecast ARGUMENTS` in this process and folder, its output in a pipe."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["servecast", *map(str, arguments)])
        for name in ("FORCE_COLOR", "COLUMNS"):
            patched.delenv(name, raising=False)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code
    return Run(int(str(code or 0)), out.getvalue(), err.getvalue())


def assert_refused(told: Run, code: int, *says: str) -> None:
    """One error and one hint on stderr, with these words in it, and nothing on stdout."""
    assert told.code == code, told.err
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("error: ") == 1
    assert told.err.count("\nhint: ") == 1
    assert "Traceback" not in told.err
    for words in says:
        assert words in told.err, (words, told.err)


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with this checkout to import."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def run_process(*arguments: object, cwd: Path, more: Mapping[str, str] | None = None) -> Run:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "servecast", *map(str, arguments)],
        cwd=cwd,
        env=environment(**(more or {})),
        capture_output=True,
        text=True,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def run_in_terminal(columns: int, *arguments: object, cwd: Path, **more: str) -> str:
    """What a terminal of that width gets to show, colours and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "servecast", *map(str, arguments)],
        cwd=cwd,
        env=environment(TERM="xterm", **more),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's end: its last writer has gone
            while part := os.read(ours, 65536):
                shown += part
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    """A terminal's text without colours and cursor movements."""
    return _ESCAPES.sub("", text)


SMALL = """\
name: small
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: h100_sxm, gpus: 2, usd_per_gpu_hour: 2.5}
engine: {name: vllm, version: "0.32"}
deployment:
  replicas: auto
  tensor_parallel_size: [1, 2]
  max_model_len: 8192
  max_num_seqs: [32, 64]
workload: {synthetic: chat, requests: 150, rate: 4/s, seed: 1}
slo: ["ttft:p95 < 500ms", "tpot:p95 < 40ms", "attainment > 90%"]
objective: cost
"""
"""Four choices of which all start and some deployment meets the SLOs."""

FIXED = SMALL.replace("[1, 2]", "1").replace("[32, 64]", "64").replace("auto", "1")
"""One deployment that meets the SLOs."""


def write(folder: Path, text: str = SMALL, name: str = "small.yaml") -> Path:
    """A scenario file in a folder."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
