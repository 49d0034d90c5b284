"""Where SGLang is taken hold of, by name: its modules, and the few of their names replaced."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from servecast.errors import UnsupportedError
from servecast.timewarp.sglang_absent import stand_in

TESTED = "0.5.23"
_NEEDED = {
    "managers.scheduler": (
        *("Scheduler", "SchedulerIpcChannels", "create_scheduler_watchdog"),
        "create_load_snapshot_writer",
    ),
    "managers.tp_worker": ("TpModelWorker",),
    "managers.utils": ("GenerationBatchResult",),
    "managers.io_struct": ("TokenizedGenerateReqInput", "ShutdownReq"),
    "managers.scheduler_components.request_receiver": ("sock_recv",),
    "managers.scheduler_components.output_sender": ("SenderWrapper", "sock_send"),
    "disaggregation.base.conn": ("KVPoll",),
    "disaggregation.decode": (
        *("DecodeReqToTokenPool", "_generate_fake_prefill_handoff_output_id"),
    ),
    "disaggregation.fake": ("FakeKVReceiver",),
    "disaggregation.utils": ("FAKE_BOOTSTRAP_HOST",),
    "managers.overlap_utils": ("FutureMap",),
    "mem_cache.allocation": ("assign_req_to_token_pool_func",),
    "mem_cache.allocation_sizing": (
        *("get_alloc_page_size", "get_alloc_reserve_per_decode"),
        "get_req_to_token_extra_context_len",
    ),
    "mem_cache.allocator": ("TokenToKVPoolAllocator", "PagedTokenToKVPoolAllocator"),
    "mem_cache.memory_pool": ("ReqToTokenPool",),
    "arg_groups.memory_hook": ("get_device_memory_capacity",),
    "arg_groups.speculative_hook": ("_disable_overlap_schedule_for_cpu",),
    "distributed.bootstrap": ("_PARALLEL_INITIALISED",),
    "distributed.parallel_state": ("cleanup_dist_env_and_memory",),
    "runtime_context": ("publish", "SpawnRanks", "get_disagg"),
    "sampling.sampling_params": ("SamplingParams",),
    "speculative.base_spec_worker": ("BaseSpecWorker",),
    "speculative.spec_info": ("SpeculativeAlgorithm",),
    "server_args": ("PortArgs", "prepare_server_args"),
}
"""What the emulator uses of `sglang.srt`; all of it is there in the tested release."""
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Read by SGLang when it starts; what the user has set is kept."""


@cache
def srt(name: str) -> Any:
    """The module `sglang.srt.<name>`, imported without what it needs a GPU for.

    Raises UnsupportedError naming what this release lacks of what the emulator uses.
    """
    stand_in()
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    logging.getLogger("sglang").setLevel(logging.CRITICAL)
    full = f"sglang.srt.{name}"
    try:
        with warnings.catch_warnings(action="ignore"):  # of kernels that will not run
            module = importlib.import_module(full)
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"SGLang cannot be imported here: there is no module `{error.name}`",
            hint=f"the emulator was tested with SGLang {TESTED}; `servecast doctor` says how to "
            "install it without a GPU",
        ) from error
    missing = [needed for needed in _NEEDED.get(name, ()) if not hasattr(module, needed)]
    if missing:
        raise UnsupportedError(
            f"`{full}` has no {', '.join(missing)}: this release of SGLang cannot be emulated",
            hint=f"install the tested release, {TESTED}",
        )
    return module


def probe() -> None:
    """Raise UnsupportedError where SGLang is not installed, or not as the emulator knows it."""
    how = "`servecast doctor` says how to install it without a GPU"
    try:
        found = version("sglang")
    except PackageNotFoundError as error:
        raise UnsupportedError(
            "SGLang is not installed, and its own control loop is what runs", hint=how
        ) from error
    if found != TESTED:
        raise UnsupportedError(
            f"SGLang {found} is installed; the emulator was tested with {TESTED}", hint=how
        )
    for name in _NEEDED:
        srt(name)


@contextmanager
def replaced(*places: tuple[object, str, object]) -> Generator[None]:
    """The attributes (owner, name, value) are these meanwhile, and what they were afterwards."""
    undo: list[Callable[[], None]] = []
    try:
        for owner, name, value in places:
            undo.append(_restorer(owner, name, getattr(owner, name)))
            setattr(owner, name, value)
        yield
    finally:
        for restore in reversed(undo):
            restore()


def _restorer(owner: object, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)
