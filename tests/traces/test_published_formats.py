"""Traces as their publishers write them, in excerpts made up here."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.traces.readers import layout, read

S = 1_000_000_000
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,ChatGPT,1087,230,1317,Conversation log
118,GPT-4,417,0,417,API log
130,GPT-4,417,27,444,API log
"""
WITH_SESSIONS = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,\
Total tokens,Log Type
5,s1,1.5,ChatGPT,472,18,490,Conversation log
"""
LISTED = '{{"timestamp": {}, "input_length": {}, "output_length": 9, "hash_ids": {}{}}}\n'
CONVERSATION = ', "chat_id": 7, "parent_chat_id": -1, "type": "text", "turn": 1'


def written(folder: Path, text: str, name: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_burstgpt_counts_seconds_and_leaves_out_what_failed(tmp_path: Path) -> None:
    workload = read(written(tmp_path, BURSTGPT, "BurstGPT_1.csv"))
    assert workload.arrival_ns.tolist() == [0, 40_500_000_000, 125 * S]
    assert workload.prompt_tokens.tolist() == [472, 1087, 417]
    assert workload.output_tokens.tolist() == [18, 230, 27]
    assert workload.failed == 1
    assert "CC-BY-4.0" in workload.attribution


def test_burstgpts_third_file_has_sessions_too(tmp_path: Path) -> None:
    path = written(tmp_path, WITH_SESSIONS.replace("\\\n", ""), "BurstGPT_3.csv")
    assert layout(path).format == "burstgpt"
    assert "Session ID" in layout(path).ignored
    assert len(read(path)) == 1


def test_a_bad_row_of_burstgpt_is_told_with_its_own_line(tmp_path: Path) -> None:
    path = written(tmp_path, BURSTGPT.replace("130,GPT-4,417,27", "130,GPT-4,417,-2"), "b.csv")
    with pytest.raises(InputError, match="line 5: Response tokens is `-2`"):
        read(path)


def test_mooncake_counts_milliseconds_and_blocks_of_512(tmp_path: Path) -> None:
    lines = LISTED.format(0, 600, [1, 2], "") + LISTED.format(3000, 513, [1, 5], "")
    workload = read(written(tmp_path, lines, "conversation_trace.jsonl"))
    assert workload.arrival_ns.tolist() == [0, 3 * S]
    assert workload.prefixes is not None
    assert workload.prefixes.block_tokens == 512
    assert workload.prefixes.extents(1) == [(1, 1), (5, 1)]


def test_bailian_counts_seconds_and_blocks_of_16(tmp_path: Path) -> None:
    rows = LISTED.format(0.5, 32, [1, 2], CONVERSATION) + LISTED.format(
        3, 33, [1, 2, 9], CONVERSATION
    )
    path = written(tmp_path, rows, "qwen.jsonl")
    workload = read(path)
    assert layout(path).format == "bailian"
    assert workload.arrival_ns.tolist() == [0, 2_500_000_000]
    assert workload.prefixes is not None
    assert workload.prefixes.block_tokens == 16
