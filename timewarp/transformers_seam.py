"""Where transformers' continuous batching is taken hold of, by name.

Everything is reached through what the engine itself keeps on its objects; no module of it is
changed. The names below are those of transformers 5.23.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from queue import Queue
from types import ModuleType
from typing import Any, Protocol, cast

from servecast.errors import InputError, UnsupportedError

INSTALL = 'pip install "servecast[transformers]"'
TESTED = "5.23.0"
FLUSH_AND_STOP = 1


class State(Protocol):
    """A request as transformers keeps it; a preempted one goes on as another object."""

    request_id: str
    position_offset: int
    """Its tokens in the cache; moved on before the step that computes them runs."""

    def generated_len(self) -> int:
        """Tokens that came out of this object."""
        ...


class Scheduled(Protocol):
    """A request in the next step."""

    state: State
    has_new_token: bool
    query_length: int


class StepInputs(Protocol):
    """The tensors of a step; what the sampler writes is one row of tokens."""

    requests_in_batch: list[Scheduled]
    output_ids: Any


class Runner(Protocol):
    """What runs the model."""

    compute_batch: Callable[[object, object], None]
    inputs_and_outputs: StepInputs


class Cache(Protocol):
    """The paged cache."""

    num_blocks: int

    def compute_free_capacity(self, relative: bool = True) -> float:
        """The share of it that is free."""
        ...


class EngineScheduler(Protocol):
    """Decides what a step computes."""

    add_waiting_request: Callable[[State], None]
    """Also called for whoever lost its blocks."""


class Processor(Protocol):
    """One step after the other: prepare, compute, update."""

    prepare_next_batch: Callable[[], bool]
    update_batch: Callable[[], None]
    model_runner: Runner
    scheduler: EngineScheduler
    cache: Cache


class ThreadStatus(Protocol):
    """Whether the loop goes on, and what it died of."""

    fatal_error: Exception | None

    def request_stop(self, status: int, global_rank: int) -> None:
        """End the loop once nothing is left to do."""
        ...


class Model(Protocol):
    """A model of transformers."""

    config: Any
    init_continuous_batching: Callable[..., object]


class Manager(Protocol):
    """The engine."""

    input_queue: Queue[object]
    background_thread_status: ThreadStatus
    batch_processor: Processor | None
    continuous_batching_config: Any

    def add_request(
        self,
        input_ids: list[int],
        request_id: str | None = None,
        max_new_tokens: int | None = None,
        *,
        record_timestamps: bool = False,
        eos_token_id: int | None = None,
    ) -> str | None:
        """Put a request into the input queue."""
        ...

    def _create_batch_processor(self) -> Processor: ...

    def _run_generation_loop(self) -> None: ...


def transformers() -> ModuleType:
    """The package; InputError where it, or PyTorch, is not installed."""
    torch()
    return _package("transformers")


def torch() -> ModuleType:
    """PyTorch; InputError where it is not installed."""
    return _package("torch")


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"running transformers takes `{error.name}`, which is not installed", hint=INSTALL
        ) from error


def require_seam(manager: object) -> Manager:
    """`manager`, where it has every name that is taken hold of; UnsupportedError naming others."""
    wanted = ("input_queue", "background_thread_status", "output_router", "add_request")
    methods = ("_create_batch_processor", "_run_generation_loop")
    missing = [name for name in (*wanted, *methods) if not hasattr(manager, name)]
    if missing:
        raise _moved(missing)
    return cast("Manager", manager)


def processor_of(manager: Manager) -> Processor:
    """The engine's step maker, made; UnsupportedError where its parts have other names."""
    processor = manager._create_batch_processor()  # pyright: ignore[reportPrivateUsage]
    wanted = ("prepare_next_batch", "update_batch", "model_runner", "cache", "scheduler")
    missing = [name for name in wanted if not hasattr(processor, name)]
    inner = {
        "model_runner": ("compute_batch", "inputs_and_outputs"),
        "scheduler": ("add_waiting_request",),
        "cache": ("num_blocks", "compute_free_capacity"),
    }
    for part, names in inner.items():
        own = getattr(processor, part, None)
        missing += [f"{part}.{name}" for name in names if not hasattr(own, name)]
    if missing:
        raise _moved(missing)
    return processor


def bell_of(manager: Manager) -> str:
    """The name of the event that an idle loop waits for, which has changed once.

    UnsupportedError where it has changed again.
    """
    known = ("_wake_up_loop", "_has_new_requests")
    found = next((name for name in known if hasattr(manager, name)), None)
    if found is None:
        raise _moved([known[0]])
    return found


def _moved(missing: list[str]) -> UnsupportedError:
    version = getattr(transformers(), "__version__", "of an unknown version")
    return UnsupportedError(
        f"transformers {version} has no {', '.join(f'`{name}`' for name in missing)} in its "
        "continuous batching",
        hint=f"install the version that was tested: pip install transformers=={TESTED}",
    )
