"""Notes what each step of a real vLLM server computes and how long it takes, on the real device.

Switched on by one environment variable, `SERVECAST_RECORD`. vLLM's general plugin (see the entry
point in pyproject.toml) brings `register` into every process of its server.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servecast.errors import InputError
from servecast.timewarp.foreign import foreign
from servecast.timewarp.recorded_work import StepWork
from servecast.timewarp.recorder_file import RecorderFile
from servecast.timewarp.recorder_keys import recorder_keys
from servecast.timewarp.recorder_requests import RecorderRequests, SchedulerOutput
from servecast.timewarp.recorder_times import RecorderTimes, Times

VARIABLE = "SERVECAST_RECORD"
"""Names the file; nothing is recorded where it is not set."""

STEPS = 200_000
"""Recorded at most, 80 MB: hours of traffic, and a forgotten variable fills no disk."""

logger = logging.getLogger(__name__)


class Recorder:
    """One engine's steps on their way into a file. It never fails a server that runs."""

    def __init__(self, file: RecorderFile, times: RecorderTimes) -> None:
        self._file: RecorderFile | None = file
        self._times = times
        self._requests = RecorderRequests()
        self._work: StepWork | None = None
        self._goes_on = False
        self._left = STEPS

    def begin(self) -> None:
        """A step is about to be handed over to the device."""
        self._times.begin()

    def note(self, scheduled: SchedulerOutput) -> None:
        """What the step computes; called while it is computed."""
        self._guarded(lambda: self._note(scheduled))

    def taken(self) -> Callable[[], None] | None:
        """What is to be called when the step's tokens are there; None where no step is noted."""
        work, self._work = self._work, None
        if work is None:
            return None
        started, goes_on = self._times.started(), self._goes_on
        return lambda: self._guarded(lambda: self._end(work, self._times.end(started, goes_on)))

    def close(self) -> None:
        """Record no more."""
        self._guarded(self._stop)

    def _note(self, scheduled: SchedulerOutput) -> None:
        work = self._requests.work(scheduled)
        self._goes_on = bool(scheduled.scheduled_cached_reqs.req_ids)
        self._work = work if work.queries + work.new_tokens else None

    def _end(self, work: StepWork, times: Times) -> None:
        if self._file is None:
            return
        self._file.add(work, times.device_ns, times.host_ns)
        self._left -= 1
        if not self._left:
            logger.warning("%s steps are recorded, the rest is not", STEPS)
            self._stop()

    def _stop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            self._file = None
            logger.exception("recording has stopped")


class RecordingExecutor:
    """Records what passes through it. A real executor of vLLM supplies all the rest."""

    records_into: Path

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        self._real.__init__(config, *args, **kwargs)
        file = RecorderFile(_own(self.records_into, config), *recorder_keys(config))
        self.recorder = Recorder(file, RecorderTimes(time.monotonic_ns, time.thread_time_ns))

    def execute_model(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        """The real one's, noted."""
        self.recorder.begin()
        output = self._real.execute_model(scheduler_output, *args, **kwargs)
        self.recorder.note(scheduler_output)
        return output

    def sample_tokens(self, *args: Any, **kwargs: Any) -> Any:
        """The real one's, timed until its tokens are there."""
        output = self._real.sample_tokens(*args, **kwargs)
        ended = self.recorder.taken()
        if ended is None:
            return output
        if hasattr(output, "result"):
            return Awaited(output, ended)
        ended()
        return output

    def shutdown(self) -> None:
        """The real one's, after the last step."""
        self.recorder.close()
        self._real.shutdown()

    @property
    def _real(self) -> Any:
        return super()


class Awaited:
    """The real executor's future, which tells when somebody has its result."""

    def __init__(self, future: Any, ended: Callable[[], None]) -> None:
        self._future = future
        self._ended: Callable[[], None] | None = ended

    def result(self, *args: Any, **kwargs: Any) -> Any:
        """The real one's."""
        value = self._future.result(*args, **kwargs)
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._future, name)


def register() -> None:
    """Record every executor that is made from now on, where the environment asks for it.

    Not in a process that emulates: its steps take what a cost says.
    Raises InputError, before the server is up, where the file cannot be written.
    """
    named = os.environ.get(VARIABLE)
    is_emulated = "servecast.timewarp.vllm_executor" in sys.modules
    if named and not is_emulated:
        path = Path(named)
        if path.suffix != ".csv":
            raise InputError(
                f"{VARIABLE} is `{path}`: steps are added to the file, so it cannot be packed",
                hint="let the name end in .csv",
            )
        attach(foreign("vllm.v1.executor.abstract").Executor, path)


def attach(executor: type[Any], path: Path) -> None:
    """Let all executors of that class, and of its subclasses, be made as recording ones."""

    def made(real: type[Any], *_: object, **__: object) -> object:
        is_recording = issubclass(real, RecordingExecutor)
        return object.__new__(real if is_recording else recording_class(real, path))

    executor.__new__ = staticmethod(made)  # type: ignore[assignment]


def recording_class(real: type[Any], path: Path) -> type[Any]:
    """The executor class `real` of vLLM, recording into `path`."""
    return type(f"Recording{real.__name__}", (RecordingExecutor, real), {"records_into": path})


def _own(path: Path, config: Any) -> Path:
    """A file of its own for each data-parallel engine."""
    rank = getattr(config.parallel_config, "data_parallel_rank", 0)
    return path.with_suffix(f".{rank}.csv") if rank else path
