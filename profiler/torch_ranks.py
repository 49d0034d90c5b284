"""Collectives between processes, one a device: PyTorch's, over gloo on a CPU and NCCL on CUDA."""

from __future__ import annotations

import importlib
import multiprocessing
import tempfile
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from servecast.errors import UnsupportedError
from servecast.profiler.probe import Probe, Timing
from servecast.profiler.torch_tensors import FORMATS, Call
from servecast.profiler.torch_timing import eager, in_graph, on_host

REPEATS = 9
CALLS = 8
"""Every rank has to make as many calls as the others: neither goes by the clock."""
PATIENCE_S = 120.0
"""How long ranks may take to start or to answer before they are given up."""

Answer = Timing | str


class TorchRanks:
    """So many processes in one group; a bench asks them for one probe after the other."""

    def __init__(self, device: str, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="servecast-ranks-")
        meeting = Path(self._folder.name, "meeting").as_uri()
        self._members: list[tuple[BaseProcess, Connection]] = []
        for rank in range(processes):
            own, theirs = context.Pipe()
            place = (rank, processes, device, meeting)
            member = context.Process(target=_serve, args=(place, theirs), daemon=True)
            member.start()
            self._members.append((member, own))

    def time(self, probe: Probe) -> Timing:
        """The slowest rank's time; UnsupportedError where any refuses or does not answer.

        Ranks that one of them left alone are ended: what they would say next is of another probe.
        """
        if not self._members:
            raise UnsupportedError("the processes of the collectives have ended")
        try:
            for _, connection in self._members:
                connection.send(probe)
            answers = [self._answer(connection) for _, connection in self._members]
        except (OSError, EOFError) as error:
            self.close()
            raise UnsupportedError(f"a process of the collectives failed: {error}") from error
        reasons = [answer for answer in answers if isinstance(answer, str)]
        if reasons:
            raise UnsupportedError(f"PyTorch refuses it: {reasons[0]}")
        timings = [answer for answer in answers if isinstance(answer, Timing)]
        return max(timings, key=lambda timing: timing.seconds)

    def close(self) -> None:
        """End the processes."""
        for member, connection in self._members:
            connection.close()
            member.join(timeout=5)
            if member.is_alive():
                member.terminate()
        self._members = []
        self._folder.cleanup()

    def _answer(self, connection: Connection) -> Answer:
        if not connection.poll(PATIENCE_S):
            raise TimeoutError(f"no answer within {PATIENCE_S:.0f} s")
        answer = connection.recv()
        return answer if isinstance(answer, Timing) else str(answer)


def _serve(place: tuple[int, int, str, str], connection: Connection) -> None:
    """Time what is asked for until the connection is closed."""
    rank, ranks, device, meeting = place
    torch, library = map(importlib.import_module, ("torch", "torch.distributed"))
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if device == "cuda" else "gloo"
    library.init_process_group(backend, init_method=meeting, rank=rank, world_size=ranks)
    try:
        while True:
            connection.send(_timed(torch, device, connection.recv()))
    except (EOFError, BrokenPipeError):
        library.destroy_process_group()


def _timed(torch: ModuleType, device: str, probe: Probe) -> Answer:
    try:
        call = collective(torch, device, probe)
        if device == "cpu":
            found = on_host([lambda: [call() for _ in range(CALLS)]], REPEATS)
            return Timing(found.seconds / CALLS, found.spread)
        outside = eager(torch, [call] * CALLS, REPEATS)
        graph = in_graph(torch, [call] * CALLS, REPEATS)
        return Timing(graph.seconds, graph.spread, outside)
    except (RuntimeError, ValueError) as error:  # PyTorch's own
        return str(error).strip().partition("\n")[0][:120] or type(error).__name__


def collective(torch: ModuleType, device: str, probe: Probe) -> Call:
    """A call of the collective on this rank; the payload is the longer of its two sides."""
    library = importlib.import_module("torch.distributed")
    elements, ranks = probe.sizes["payload_elements"], probe.sizes["ranks"]
    kind = getattr(torch, FORMATS[probe.key.dtype][0])
    whole = torch.zeros(elements // ranks * ranks, dtype=kind, device=device)
    part = torch.zeros(elements // ranks, dtype=kind, device=device)
    calls: dict[str, Call] = {
        "all_reduce": lambda: library.all_reduce(whole),
        "all_gather": lambda: library.all_gather_into_tensor(whole, part),
        "reduce_scatter": lambda: library.reduce_scatter_tensor(part, whole),
        "all_to_all": lambda: library.all_to_all_single(torch.empty_like(whole), whole),
    }
    return calls[probe.key.operation]
