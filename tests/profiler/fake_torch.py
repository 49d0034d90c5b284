"""A PyTorch without kernels: a GPU that takes 5 µs a call in a graph, and 20 µs outside of one."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from types import ModuleType, SimpleNamespace

IN_GRAPH_S, EAGER_S = 5e-6, 20e-6


class Device:
    """The GPU's clock, and how many calls a graph that is being captured has."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.captured: int | None = None
        self.graphs: list[int] = []
        """Calls of every graph that was captured."""

    def call(self, *_: object, **__: object) -> object:
        """A kernel: one more in the graph, or run at once."""
        if self.captured is None:
            self.now_s += EAGER_S
        else:
            self.captured += 1
        return None


class Event:
    """A mark on the GPU's clock."""

    def __init__(self, device: Device) -> None:
        self.device, self.at_s = device, 0.0

    def record(self) -> None:
        self.at_s = self.device.now_s

    def synchronize(self) -> None:
        """Nothing is ever pending."""

    def elapsed_time(self, end: Event) -> float:
        """In milliseconds."""
        return (end.at_s - self.at_s) * 1e3


class Graph:
    """A captured graph."""

    def __init__(self, device: Device) -> None:
        self.device, self.calls = device, 0

    def replay(self) -> None:
        self.device.now_s += self.calls * IN_GRAPH_S


def fake_torch(device: Device, *, has_cuda: bool = True) -> ModuleType:
    """A module `torch` of which every kernel is the device's `call`."""

    @contextlib.contextmanager
    def capture(graph: Graph) -> Generator[None]:
        device.captured = 0
        yield
        graph.calls, device.captured = device.captured, None
        device.graphs.append(graph.calls)

    def nothing(*_: object) -> None:
        """Streams, caches and waiting are none of a clock's business."""

    def event(enable_timing: bool) -> Event:
        return Event(device) if enable_timing else Event(Device())

    def side(_: object) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()

    stream = SimpleNamespace(wait_stream=nothing)
    cuda = SimpleNamespace(
        is_available=lambda: has_cuda,
        device_count=lambda: 1,
        mem_get_info=lambda: (2**30, 2**30),
        empty_cache=nothing,
        synchronize=nothing,
        Stream=lambda: stream,
        current_stream=lambda: stream,
        stream=side,
        Event=event,
        CUDAGraph=lambda: Graph(device),
        graph=capture,
    )
    torch = ModuleType("torch")
    for name, value in {
        "__version__": "9.9.0+fake",
        "cuda": cuda,
        "add": device.call,
        "zeros": device.call,
        "inference_mode": contextlib.nullcontext,
    }.items():
        setattr(torch, name, value)
    return torch
