"""What a server's steps compute and take, on their way into a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from servecast.errors import InputError
from servecast.primitives.cost_file import read_costs
from servecast.primitives.cost_table import TableKey
from servecast.timewarp.recorded_steps import recorded_steps
from servecast.timewarp.recorded_work import OPERATION, StepWork
from servecast.timewarp.recorder import Recorder, RecordingExecutor, register
from servecast.timewarp.recorder_file import RecorderFile
from servecast.timewarp.recorder_keys import device_name
from servecast.timewarp.recorder_requests import RecorderRequests
from servecast.timewarp.recorder_times import RecorderTimes

DEVICE, HOST = (
    TableKey(OPERATION, "h100_sxm", "bf16", "vllm", "0.32.0", f"part={part},model=m,ranks=1")
    for part in ("device", "host")
)
ONE = StepWork(3, 3, 300, 120, 0, 0, 0, 0)
OTHER = StepWork(0, 0, 0, 0, 1, 64, 16, 64 * 16 + 64 * 65 // 2)


def scheduled(
    new: Sequence[tuple[str, int, int, int]] = (),
    known: Sequence[tuple[str, int, int, int]] = (),
    resumed: Sequence[str] = (),
    finished: Sequence[str] = (),
) -> Any:
    """A scheduler's output: id, prompt, past, tokens of the `new`; id, past, said, tokens else."""
    return SimpleNamespace(
        scheduled_new_reqs=[
            SimpleNamespace(req_id=i, prompt_token_ids=[1] * prompt, num_computed_tokens=past)
            for i, prompt, past, _ in new
        ],
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=[i for i, *_ in known],
            num_computed_tokens=[past for _, past, _, _ in known],
            num_output_tokens=[said for _, _, said, _ in known],
            resumed_req_ids=set(resumed),
        ),
        num_scheduled_tokens={i: tokens for i, _, _, tokens in [*new, *known]},
        finished_req_ids=set(finished),
    )


def test_prompts_decodes_and_their_contexts_are_told_apart() -> None:
    requests = RecorderRequests()
    first = requests.work(scheduled(new=[("a", 100, 0, 100), ("b", 500, 16, 200)]))
    assert first == (0, 0, 0, 0, 2, 300, 16, 5050 + 200 * 16 + 20100)
    mixed = requests.work(scheduled(known=[("a", 100, 1, 1), ("b", 216, 0, 284)]))
    assert mixed == (1, 1, 100, 100, 1, 284, 216, 284 * 216 + 284 * 285 // 2)
    decodes = requests.work(scheduled(known=[("a", 101, 2, 1), ("b", 500, 1, 4)]))
    assert decodes == (2, 5, 601, 500, 0, 0, 0, 0)


def test_after_a_preemption_all_that_a_request_had_is_a_prompt() -> None:
    requests = RecorderRequests()
    requests.work(scheduled(new=[("a", 100, 0, 100)]))
    again = requests.work(scheduled(known=[("a", 0, 7, 107)], resumed=["a"]))
    assert (again.prompts, again.new_tokens, again.sequences) == (1, 107, 0)
    assert requests.work(scheduled(known=[("a", 107, 8, 1)])).sequences == 1


class Clock:
    """Two clocks that a test sets."""

    def __init__(self) -> None:
        self.now = self.cpu = 0

    def times(self) -> RecorderTimes:
        return RecorderTimes(lambda: self.now, lambda: self.cpu)


def test_the_time_between_steps_is_the_host_s() -> None:
    clock = Clock()
    times = clock.times()
    clock.now = 100
    times.begin()
    clock.now = 150
    assert times.end(times.started(), goes_on=False) == (50, 0)
    clock.now, clock.cpu = 170, 12
    times.begin()
    clock.now = 200
    assert times.end(times.started(), goes_on=True) == (30, 20)


def test_waiting_for_somebody_to_come_is_not_the_host_s() -> None:
    clock = Clock()
    times = clock.times()
    times.begin()
    times.end(times.started(), goes_on=False)
    clock.now, clock.cpu = 5_000, 12
    times.begin()
    clock.now = 5_100
    assert times.end(times.started(), goes_on=False) == (100, 12)


def test_a_step_handed_over_early_begins_when_the_device_is_free() -> None:
    clock = Clock()
    times = clock.times()
    times.begin()
    first = times.started()
    clock.now = 10
    times.begin()
    second = times.started()
    clock.now = 100
    assert times.end(first, goes_on=True) == (100, 0)
    clock.now = 130
    assert times.end(second, goes_on=True) == (30, 0)


def written(path: Path) -> RecorderFile:
    file = RecorderFile(path, DEVICE, HOST, "test")
    file.add(ONE, 5_000_000, 200_000)
    file.add(OTHER, 9_000_000, 0)
    return file


def test_each_step_is_in_the_file_at_once_and_the_file_is_a_cost_file(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    written(path)  # and not closed
    assert [(s.work, s.device_ns, s.host_ns) for s in recorded_steps(path)] == [
        (ONE, 5_000_000, 200_000),
        (OTHER, 9_000_000, 1),
    ]
    assert [(table.key, len(table)) for table in read_costs(path)] == [(DEVICE, 2), (HOST, 2)]


def test_a_torn_row_is_cut_away_before_the_file_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    written(path).close()
    path.write_bytes(path.read_bytes()[:-30])
    written(path).close()
    assert [s.work for s in recorded_steps(path)] == [ONE, ONE, OTHER]
    read_costs(path)


def test_another_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="is no cost file"):
        written(path)
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"


class Fake:
    """An executor whose step takes 40 ns, of which 10 pass when it is handed over."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.is_down = clock, False

    def execute_model(self, output: object, non_block: bool = False) -> str:
        self.clock.now += 10
        return "handed over"

    def sample_tokens(self, grammar: object, non_block: bool = False) -> Any:
        if non_block:
            return SimpleNamespace(result=self._result, done=lambda: False)
        return self._result()

    def shutdown(self) -> None:
        self.is_down = True

    def _result(self) -> str:
        self.clock.now += 30
        return "tokens"


def recording(clock: Clock, path: Path) -> Any:
    """The fake, recorded."""
    own = {"__init__": Fake.__init__}
    executor: Any = type("Recording", (RecordingExecutor, Fake), own)(clock)
    executor.recorder = Recorder(RecorderFile(path, DEVICE, HOST, "test"), clock.times())
    return executor


@pytest.mark.parametrize("non_block", [False, True])
def test_a_wrapped_executor_answers_as_before_and_is_recorded(
    tmp_path: Path, non_block: bool
) -> None:
    clock, path = Clock(), tmp_path / "steps.csv"
    executor = recording(clock, path)
    output = scheduled(new=[("a", 100, 0, 100)])
    assert executor.execute_model(output, non_block=True) == "handed over"
    said = executor.sample_tokens(None, non_block=non_block)
    if non_block:
        assert not said.done()
        said = said.result()
    assert said == "tokens"
    (step,) = recorded_steps(path)
    assert (step.work.new_tokens, step.device_ns) == (100, 40)
    executor.shutdown()
    assert executor.is_down


def test_a_step_without_tokens_is_none(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "steps.csv"
    executor = recording(clock, path)
    executor.execute_model(scheduled(finished=["a"]))
    executor.sample_tokens(None)
    with pytest.raises(InputError, match="holds no steps"):
        list(recorded_steps(path))


def test_what_goes_wrong_stops_the_recording_and_not_the_server(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "steps.csv"
    executor = recording(clock, path)
    executor.execute_model(SimpleNamespace())  # not as any scheduler's output is
    assert executor.sample_tokens(None) == "tokens"
    executor.execute_model(scheduled(new=[("a", 100, 0, 100)]))
    assert executor.sample_tokens(None) == "tokens"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1


def test_nothing_happens_unless_the_environment_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVECAST_RECORD", raising=False)
    register()
    monkeypatch.delitem(sys.modules, "servecast.timewarp.vllm_executor", raising=False)
    monkeypatch.setenv("SERVECAST_RECORD", "steps.csv.gz")
    with pytest.raises(InputError, match="cannot be packed"):
        register()


@pytest.mark.parametrize(
    ("reported", "known"),
    [
        ("NVIDIA H100 80GB HBM3", "h100_sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm_80gb"),
        ("NVIDIA H100 NVL", "NVIDIA H100 NVL"),
        ("cpu", "cpu"),
    ],
)
def test_devices_get_their_names_in_the_catalogue(reported: str, known: str) -> None:
    assert device_name(reported) == known
