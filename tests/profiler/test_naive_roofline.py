"""The textbook by hand: bytes over bandwidth, FLOPs over peak."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.primitives.weights import active_parameters, parameters
from servecast.profiler.naive_roofline import naive_ms, naive_pools_ms
from tests.toy_deployments import DENSE, DEVICE

WEIGHTS = parameters(DENSE.model) * 2
TOKEN = 16 * 8 * 2 * 128 * 2
PROMPT_MS = 2 * active_parameters(DENSE.model) * 1000 / 1e14 * 1e3


def decode_ms(clients: float, gpus: int = 1) -> float:
    return (WEIGHTS + clients * 1100 * TOKEN) / gpus / DEVICE.bw_bytes_per_s * 1e3


def test_prompts_of_others_stand_in_between_where_one_server_does_both() -> None:
    found = naive_ms(DENSE, 1000, 200, 4)
    assert found["ttft_ms"] == pytest.approx(decode_ms(4) + PROMPT_MS)
    assert found["tpot_ms"] == pytest.approx(decode_ms(4) + PROMPT_MS * 4 / 200)


def test_two_pools_do_not_meet_and_data_parallel_ranks_count() -> None:
    wide = replace(DENSE, data_parallel_size=4)
    found = naive_pools_ms(replace(DENSE, tensor_parallel_size=2), wide, 1000, 200, 4)
    assert found["tpot_ms"] == pytest.approx(decode_ms(4, gpus=4))
    assert found["ttft_ms"] == pytest.approx(decode_ms(4, gpus=4) + PROMPT_MS / 2)
