"""Logs of benchmark clients and spans of servers, in excerpts made up here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.traces.readers import read
from servecast.traces.workload import Workload

S = 1_000_000_000
Value = dict[str, object]


def written(folder: Path, text: str, name: str = "log.json") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def rows(workload: Workload) -> list[tuple[int, ...]]:
    columns = (workload.arrival_ns, workload.prompt_tokens, workload.output_tokens)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def vllm(**changes: object) -> str:
    result: Value = {
        "backend": "vllm",
        "completed": 2,
        "input_lens": [100, 200, 300],
        "output_lens": [10, 0, 30],
        "start_times": [7.25, 7.5, 5.0],
        "ttfts": [0.1, 0.0, 0.2],
    }
    return json.dumps(result | changes)


def aiperf(start_ns: int, sent: int, said: int, error: Value | None = None) -> str:
    metrics: Value = {"input_sequence_length": {"value": sent, "unit": "tokens"}}
    if error is None:
        metrics["output_sequence_length"] = {"value": said, "unit": "tokens"}
    metadata: Value = {"session_num": 1, "request_start_ns": start_ns, "was_cancelled": False}
    return json.dumps({"metadata": metadata, "metrics": metrics, "error": error}) + "\n"


def guidellm(*starts: float | None) -> str:
    found = [
        {"request_start_time": start, "prompt_tokens": 64, "output_tokens": 8} for start in starts
    ]
    requests = {"successful": found, "errored": [{"error": "500"}], "incomplete": []}
    return json.dumps({"metadata": {}, "benchmarks": [{"requests": requests}]}, indent=2)


def lifecycle(start_s: float, info: Value | None, error: Value | None = None) -> Value:
    return {"start_time": start_s, "end_time": start_s + 1, "info": info, "error": error}


def span(start_ns: int, status: Value | None = None, **attributes: object) -> Value:
    listed = [
        {"key": f"gen_ai.{key.replace('__', '.')}", "value": value}
        for key, value in attributes.items()
    ]
    return {"startTimeUnixNano": str(start_ns), "attributes": listed, "status": status or {}}


def whole(number: int) -> Value:
    return {"intValue": str(number)}


def spans(*found: Value) -> str:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(found)}]}]})


def test_vllms_result_is_put_in_order_of_sending_without_what_failed(tmp_path: Path) -> None:
    workload = read(written(tmp_path, vllm(), "bench.json"))
    assert rows(workload) == [(0, 300, 30), (2_250_000_000, 100, 10)]
    assert (workload.name, workload.failed) == ("bench", 1)
    assert workload.max_tokens.tolist() == [30, 30]


def test_vllms_appended_results_follow_each_other(tmp_path: Path) -> None:
    later = vllm(start_times=[17.25, 17.5, 15.0])
    assert len(read(written(tmp_path, f"{vllm()}\n{later}"))) == 4


def test_columns_of_different_length_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"document 1: it: .*not as many"):
        read(written(tmp_path, vllm(output_lens=[1])))


def test_aiperfs_records_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    begun = 1_759_813_207_532_900_363
    failed = aiperf(begun, 5, 0, {"code": 499, "type": "Cancelled", "message": "…"})
    text = aiperf(begun + 1, 550, 9) + failed + aiperf(begun, 40, 2)
    workload = read(written(tmp_path, text, "profile_export.jsonl"))
    assert rows(workload) == [(0, 40, 2), (1, 550, 9)]
    assert workload.failed == 1


def test_guidellms_report_may_be_indented_and_lists_what_failed_apart(tmp_path: Path) -> None:
    workload = read(written(tmp_path, guidellm(1700000000.5, 1700000000.25), "benchmarks.json"))
    assert rows(workload) == [(0, 64, 8), (250_000_000, 64, 8)]
    assert workload.failed == 1


def test_inference_perfs_output_is_in_one_of_two_places(tmp_path: Path) -> None:
    older: Value = {"input_tokens": 10, "output_tokens": 3}
    newer: Value = {"input_tokens": 20, "response_metrics": {"output_tokens": 4}}
    failed = lifecycle(3.0, None, {"error_type": "timeout", "error_msg": "…"})
    text = json.dumps([lifecycle(1.5, older), failed, lifecycle(2.0, newer)])
    workload = read(written(tmp_path, text))
    assert rows(workload) == [(0, 10, 3), (500_000_000, 20, 4)]
    assert workload.failed == 1


def test_spans_of_model_calls_are_requests_and_those_of_agents_are_not(tmp_path: Path) -> None:
    usage = {"usage__input_tokens": whole(90), "usage__output_tokens": whole(7)}
    text = "\n".join(
        (
            spans(
                span(2 * S, operation__name={"stringValue": "chat"}, **usage),
                span(2 * S, operation__name={"stringValue": "invoke_agent"}, **usage),
                span(3 * S, server={"stringValue": "nobody"}),
            ),
            spans(
                span(S, usage__prompt_tokens=whole(50), usage__completion_tokens=whole(5)),
                span(4 * S, {"code": 2}, operation__name={"stringValue": "chat"}),
            ),
        )
    )
    workload = read(written(tmp_path, text, "traces.jsonl"))
    assert rows(workload) == [(0, 50, 5), (S, 90, 7)]
    assert workload.failed == 1


def test_a_limit_keeps_the_first_that_were_sent(tmp_path: Path) -> None:
    assert rows(read(written(tmp_path, vllm()), limit=1)) == [(0, 300, 30)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (vllm(output_lens=[0, 0, 0]), "no answered request, 3 failed"),
        (vllm(start_times=["now", 1, 2]), "document 1: start_times.0"),
        (vllm(input_lens=[-5, 1, 1]), "a request of -5 and 10 tokens"),
        (vllm(start_times=[-1.0, 1, 2]), "sent at -1000000000 ns"),
        (vllm()[:-1], "line 1 is no JSON"),
        (f"{vllm()}\n[1]", "document 2: it"),
        ('[{"start_time": 1.0, "info": 3}]', "document 1: 0.info"),
    ],
)
def test_a_log_that_is_not_what_it_began_as_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read(written(tmp_path, text))
