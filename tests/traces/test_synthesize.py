from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from math import isclose

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.traces.arrivals import Constant, Gamma
from servecast.traces.lengths import FixedLengths
from servecast.traces.presets import PRESETS, TrafficShape
from servecast.traces.synthesize import synthesize
from servecast.traces.workload import Workload


def fingerprint(workload: Workload) -> str:
    columns = (workload.arrival_ns, workload.prompt_tokens, workload.output_tokens)
    return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.array_equal(one, other))


def test_a_synthetic_workload_is_complete() -> None:
    workload = synthesize("chat", 500, rate_per_s=12.0, seed=1)
    assert (workload.name, len(workload), workload.concurrency) == ("chat", 500, None)
    assert workload.arrival_ns[0] == 0
    assert (np.diff(workload.arrival_ns) >= 0).all()
    assert isclose(workload.rate_per_s, 12.0, rel_tol=0.2)
    assert set(workload.max_tokens.tolist()) == {1000}
    assert "CC-BY-4.0" in workload.attribution


def test_a_shape_of_ones_own_is_drawn_like_a_preset() -> None:
    shape = TrafficShape("1024x128", FixedLengths(1024, 128), Constant())
    workload = synthesize(shape, 3, rate_per_s=4.0)
    assert workload.arrival_ns.tolist() == [0, 250_000_000, 500_000_000]
    assert workload.prompt_tokens.tolist() == [1024] * 3
    assert workload.max_tokens.tolist() == [128] * 3


def test_each_purpose_has_a_stream_of_its_own() -> None:
    plain = synthesize("chat", 300, rate_per_s=5.0, seed=9)
    burst = replace(PRESETS["chat"], arrivals=Gamma(4.0))
    bursty = synthesize(burst, 300, rate_per_s=5.0, seed=9)
    assert same(plain.prompt_tokens, bursty.prompt_tokens)
    assert same(plain.output_tokens, bursty.output_tokens)
    assert not same(plain.arrival_ns, bursty.arrival_ns)
    short = replace(PRESETS["chat"], lengths=FixedLengths(8, 8))
    assert same(plain.arrival_ns, synthesize(short, 300, rate_per_s=5.0, seed=9).arrival_ns)
    loop = synthesize("chat", 300, concurrency=4, seed=9)
    assert same(plain.prompt_tokens, loop.prompt_tokens)


def test_more_requests_begin_with_the_same_ones() -> None:
    few, many = (synthesize("code", n, rate_per_s=5.0, seed=9) for n in (50, 400))
    for column in ("arrival_ns", "prompt_tokens", "output_tokens", "max_tokens"):
        assert same(getattr(few, column), getattr(many, column)[:50])


def test_another_seed_is_another_workload() -> None:
    one, other = (synthesize("chat", 50, rate_per_s=5.0, seed=seed) for seed in (1, 2))
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_draws_the_same_bytes(hash_seed: str) -> None:
    here = {
        name: fingerprint(synthesize(name, 200, rate_per_s=7.0, seed=5)) for name in sorted(PRESETS)
    }
    script = (
        "import hashlib\n"
        "from servecast.traces import PRESETS, synthesize\n"
        "for name in sorted(PRESETS):\n"
        "    w = synthesize(name, 200, rate_per_s=7.0, seed=5)\n"
        "    columns = (w.arrival_ns, w.prompt_tokens, w.output_tokens)\n"
        "    joined = b''.join(column.tobytes() for column in columns)\n"
        "    print(name, hashlib.sha256(joined).hexdigest())\n"
    )
    environment = os.environ | {
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert dict(line.split() for line in done.stdout.splitlines()) == here


def test_a_closed_loop_has_a_concurrency_and_no_times() -> None:
    loop = synthesize("chat", 10, concurrency=4, think_ns=250, seed=1)
    assert (loop.concurrency, loop.think_ns) == (4, 250)
    assert not loop.arrival_ns.any()


@pytest.mark.parametrize(
    ("requests", "rate_per_s", "concurrency", "think_ns", "seed", "message"),
    [
        (10, None, None, 0, 1, "has neither"),
        (10, 1.0, 4, 0, 1, "has both"),
        (10, 1.0, None, 5, 1, "think time is 5 ns at a rate"),
        (10, 0.0, None, 0, 1, "rate is 0/s, and must be a finite number above 0"),
        (10, None, 0, 0, 1, "concurrency is 0"),
        (0, 1.0, None, 0, 1, "requests is 0, and must be from 1 to"),
        (10, 1.0, None, 0, -1, "seed is -1, and must be at least 0"),
    ],
)
def test_what_cannot_be_drawn_names_value_rule_and_way_out(
    requests: int,
    rate_per_s: float | None,
    concurrency: int | None,
    think_ns: int,
    seed: int,
    message: str,
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        synthesize(
            "chat",
            requests,
            rate_per_s=rate_per_s,
            concurrency=concurrency,
            think_ns=think_ns,
            seed=seed,
        )
    assert caught.value.hint


def test_a_million_requests_take_less_than_a_second() -> None:
    started_s = time.process_time()
    synthesize("chat", 1_000_000, rate_per_s=100.0, seed=1)
    assert time.process_time() - started_s < 1.0
