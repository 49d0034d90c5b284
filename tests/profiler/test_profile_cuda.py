"""How a GPU is timed: in graphs, with eager times beside, without a GPU to time."""

from __future__ import annotations

import sys

import pytest

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.cost_table import TableKey
from servecast.profiler import torch_bench
from servecast.profiler.probe import Probe
from servecast.profiler.torch_bench import CACHE_BYTES, GRAPH_CALLS, TorchBench
from servecast.profiler.torch_tensors import Call, Kernel, Tensors
from tests.profiler.fake_torch import EAGER_S, IN_GRAPH_S, Device, fake_torch

PROBE = Probe(TableKey("gemm", "h200_sxm", "bf16", "servecast", "1"), (8, 4096, 4096))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setitem(sys.modules, "torch", fake_torch(made))
    return made


class FakeTensors(Tensors):
    """Needs no tensors: as many calls of the device as it is told."""

    def __init__(self, device: Device, copies: int) -> None:
        self.device, self.copies, self.asked_bytes = device, copies, 0

    def calls(self, kernel: Kernel, cache_bytes: int) -> list[Call]:
        self.asked_bytes = cache_bytes
        return [self.device.call] * self.copies


def with_copies(monkeypatch: pytest.MonkeyPatch, device: Device, copies: int) -> FakeTensors:
    tensors = FakeTensors(device, copies)

    def made(*_: object) -> FakeTensors:
        return tensors

    monkeypatch.setattr(torch_bench, "Tensors", made)
    return tensors


def test_a_call_is_timed_in_a_graph_and_outside(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = with_copies(monkeypatch, device, 1)
    timing = TorchBench("cuda").time(PROBE)
    assert timing.seconds == pytest.approx(IN_GRAPH_S)
    assert timing.eager is not None
    assert timing.eager.seconds == pytest.approx(EAGER_S)
    assert timing.eager.eager is None
    assert device.graphs == [15], "300 µs of calls that take 20 outside"
    assert tensors.asked_bytes == CACHE_BYTES["cuda"]


@pytest.mark.parametrize(("copies", "calls"), [(20, 20), (32, GRAPH_CALLS)])
def test_a_graph_visits_every_copy(
    copies: int, calls: int, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_copies(monkeypatch, device, copies)
    assert TorchBench("cuda").time(PROBE).seconds == pytest.approx(IN_GRAPH_S)
    assert device.graphs == [calls]


def test_launches_are_told_apart(device: Device) -> None:
    launch_s = TorchBench("cuda").launch_s()
    assert launch_s == pytest.approx({"eager": EAGER_S, "in a graph": IN_GRAPH_S})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA out of memory\nand much more"), "CUDA out of memory"),
        (AttributeError("no attribute 'grouped_mm'"), "no attribute 'grouped_mm'"),
        (ImportError("No module named 'torch.nn.attention.varlen'"), "No module named"),
    ],
)
def test_what_pytorch_refuses_is_a_reason_in_one_line(
    error: Exception, reason: str, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(kernel: Kernel, cache_bytes: int) -> list[Call]:
        raise error

    monkeypatch.setattr(with_copies(monkeypatch, device, 1), "calls", broken)
    with pytest.raises(UnsupportedError) as refusal:
        TorchBench("cuda").time(PROBE)
    assert refusal.value.message.startswith(f"PyTorch refuses it: {reason}")
    assert "\n" not in refusal.value.message


def test_the_version_names_the_build(device: Device) -> None:
    assert device.now_s == 0
    assert TorchBench("cuda").version == "torch 9.9.0+fake"


def test_more_processes_than_devices_are_refused(device: Device) -> None:
    assert device.now_s == 0
    with pytest.raises(InputError, match="2 processes take a device each, and PyTorch sees 1"):
        TorchBench("cuda", processes=2)


def test_without_a_gpu_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch(Device(), has_cuda=False))
    with pytest.raises(InputError, match="sees no CUDA device"):
        TorchBench("cuda")
