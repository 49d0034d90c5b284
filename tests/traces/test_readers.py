from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.traces.azure import ATTRIBUTION
from servecast.traces.readers import layout, read, read_lengths

AZURE_TEXT = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:59.9999999,374,44\n"
    "2023-11-16 18:16:00.0000001,396,109\n"
    "2023-11-16 18:16:01.5000000,879,55\n"
)
PLAIN_TEXT = "arrival_s,input_tokens,output_tokens\n0.5,10,3\n0.5,20,7\n2.25,30,5\n"
JSONL_TEXT = (
    '{"arrival_s": 0.5, "input_tokens": 10, "output_tokens": 3, "hash_ids": [1, 2]}\n'
    '{"arrival_s": 0.5, "input_tokens": 20, "output_tokens": 7, "hash_ids": [1, 2, 5]}\n'
    "\n"
    '{"arrival_s": 2.25, "input_tokens": 30, "output_tokens": 5, "hash_ids": []}\n'
)


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def failure(path: Path, *, limit: int | None = None, max_bad: int = 5) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path, limit=limit, max_bad=max_bad)
    return caught.value


def test_azures_published_csv_is_read_to_the_hundred_nanoseconds(tmp_path: Path) -> None:
    workload = read(written(tmp_path, AZURE_TEXT, "AzureLLMInferenceTrace_conv.csv"))
    assert workload.name == "AzureLLMInferenceTrace_conv"
    assert workload.arrival_ns.tolist() == [0, 200, 1_500_000_100]
    assert workload.prompt_tokens.tolist() == [374, 396, 879]
    assert workload.output_tokens.tolist() == [44, 109, 55]
    assert workload.attribution == ATTRIBUTION
    assert "CC-BY-4.0" in workload.attribution


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PLAIN_TEXT, "a.csv"),
        (PLAIN_TEXT, "a.csv.gz"),
        (PLAIN_TEXT.replace("\n", "\r\n"), "windows.csv"),
        ("\ufeff" + PLAIN_TEXT, "spreadsheet.csv"),
        ("\n" + PLAIN_TEXT + "\n\n", "blank_lines.csv"),
        (JSONL_TEXT, "a.jsonl"),
        (JSONL_TEXT, "a.jsonl.gz"),
        (JSONL_TEXT, "misnamed.csv"),
        ("arrival_ms,prompt_tokens,output_tokens\n500,10,3\n500,20,7\n2250,30,5\n", "ms.csv"),
        (
            "user,timestamp,output_tokens,input_tokens\na,0.5,3,10\nb,0.5,7,20\n,2.25,5,30\n",
            "b.csv",
        ),
    ],
)
def test_the_same_requests_are_read_from_each_way_to_write_them(
    tmp_path: Path, text: str, name: str
) -> None:
    workload = read(written(tmp_path, text, name))
    assert workload.arrival_ns.tolist() == [0, 0, 1_750_000_000]
    assert workload.prompt_tokens.tolist() == [10, 20, 30]
    assert workload.output_tokens.tolist() == [3, 7, 5]
    assert workload.attribution == ""
    assert workload.arrival_ns.dtype == np.int64


def test_lists_of_block_ids_say_which_prompts_begin_alike(tmp_path: Path) -> None:
    found = read(written(tmp_path, JSONL_TEXT, "a.jsonl")).prefixes
    assert found is not None
    assert found.block_tokens == 8
    assert [found.extents(row) for row in range(3)] == [[(1, 2)], [(1, 2), (5, 1)], []]


def test_lists_that_no_block_size_explains_are_refused_unless_one_is_stated(tmp_path: Path) -> None:
    row = '{"arrival_s": 0, "input_tokens": 100, "output_tokens": 3, "hash_ids": [1, 2]%s}\n'
    other = '{"arrival_s": 0, "input_tokens": 9, "output_tokens": 3, "hash_ids": [7, 8]%s}\n'
    error = failure(written(tmp_path, row % "" + other % "", "a.jsonl"))
    assert "`hash_ids`" in error.message
    assert error.hint is not None
    assert "block_tokens" in error.hint
    stated = ', "block_tokens": 16'
    found = read(written(tmp_path, row % stated + other % stated, "b.jsonl")).prefixes
    assert found is not None
    assert found.block_tokens == 16
    differing = written(tmp_path, row % stated + other % ', "block_tokens": 32', "c.jsonl")
    assert "[16, 32]" in failure(differing).message


@pytest.mark.parametrize("cell", ['"x"', "[1, -2]", "[1, 0.5]", "3", "[[1]]"])
def test_a_list_that_holds_anything_but_ids_is_a_bad_line(tmp_path: Path, cell: str) -> None:
    row = f'{{"arrival_s": 0, "input_tokens": 9, "output_tokens": 3, "hash_ids": {cell}}}\n'
    error = failure(written(tmp_path, row, "a.jsonl"))
    assert "line 1: hash_ids" in error.message
    assert "block ids" in error.message


def test_undeclared_limits_are_one_ceiling_that_tells_nothing_of_a_request(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN_TEXT)
    assert read(path).max_tokens.tolist() == [7, 7, 7]
    assert read(path, limit=1).max_tokens.tolist() == [3]


def test_declared_limits_are_read(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,output_tokens,max_tokens\n0,10,3,64\n1,20,7,8\n"
    assert read(written(tmp_path, text)).max_tokens.tolist() == [64, 8]


def test_priorities_are_whole_numbers_and_0_where_a_row_has_none(tmp_path: Path) -> None:
    row = '{"arrival_s": %d, "input_tokens": 9, "output_tokens": 3%s}\n'
    text = row % (1, ', "priority": -5') + row % (0, "")
    found = read(written(tmp_path, text, "a.jsonl"), sort=True).priorities
    assert found is not None
    assert found.tolist() == [0, -5]
    error = failure(written(tmp_path, row % (0, ', "priority": "high"'), "b.jsonl"))
    assert "line 1: priority" in error.message


def test_limit_reads_the_first_rows_and_never_looks_at_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN_TEXT + "broken")
    assert read(path, limit=2).prompt_tokens.tolist() == [10, 20]
    assert len(read(written(tmp_path, PLAIN_TEXT), limit=99)) == 3


def test_sort_mends_the_order_and_keeps_rows_of_one_time_in_theirs(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,output_tokens\n3,1,1\n1,2,1\n3,3,1\n"
    workload = read(written(tmp_path, text), sort=True)
    assert workload.prompt_tokens.tolist() == [2, 1, 3]
    assert workload.arrival_ns.tolist() == [0, 2 * 10**9, 2 * 10**9]


def test_layout_reports_the_format_and_what_is_left_unread(tmp_path: Path) -> None:
    plain = layout(written(tmp_path, JSONL_TEXT, "a.jsonl"))
    assert (plain.format, plain.container, plain.ignored) == ("plain", "jsonl", ())
    assert plain.prefix_ids == "hash_ids"
    azure = layout(written(tmp_path, AZURE_TEXT))
    assert (azure.format, azure.container, azure.ignored) == ("azure", "csv", ())
    assert azure.arrival == "TIMESTAMP"


@pytest.mark.parametrize("name", ["azure2023_conv.csv", "AzureLLM_part.csv", "azure_2024.csv"])
def test_a_file_named_after_azures_traces_is_credited_in_any_format(
    tmp_path: Path, name: str
) -> None:
    assert read(written(tmp_path, PLAIN_TEXT, name)).attribution == ATTRIBUTION


HEADER = "arrival_s,input_tokens,output_tokens\n0,1,1\n"
TOKEN_RULE = "a whole number of tokens from 1 to 1000000000"
SECONDS_RULE = "a number of seconds from 0 to 9000000000"


@pytest.mark.parametrize(
    ("row", "value", "rule"),
    [
        ("nan,1,1", "arrival_s is `nan`", SECONDS_RULE),
        ("inf,1,1", "arrival_s is `inf`", SECONDS_RULE),
        ("-1.5,1,1", "arrival_s is `-1.5`", SECONDS_RULE),
        ("1e99,1,1", "arrival_s is `1e99`", SECONDS_RULE),
        (",1,1", "arrival_s is ``", SECONDS_RULE),
        ("1,0,1", "input_tokens is `0`", TOKEN_RULE),
        ("1,nan,1", "input_tokens is `nan`", TOKEN_RULE),
        ("1,7.5,1", "input_tokens is `7.5`", TOKEN_RULE),
        ("1,1,0", "output_tokens is `0`", TOKEN_RULE),
        ("1,1,-4", "output_tokens is `-4`", TOKEN_RULE),
        ("1,1", "`1,1` has 2 columns", "the header has 3"),
        ("1,1,1,1", "`1,1,1,1` has 4 columns", "the header has 3"),
    ],
)
def test_a_bad_row_is_named_with_line_value_rule_and_next_command(
    tmp_path: Path, row: str, value: str, rule: str
) -> None:
    path = written(tmp_path, HEADER + row + "\n2,1,1\n")
    error = failure(path)
    assert f"`{path}` line 3: {value}" in error.message
    assert rule in error.message
    assert not error.message.endswith(".")
    assert f"servecast trace stats {path}" in (error.hint or "")


def test_rows_out_of_order_name_the_line_and_the_command_that_mends_them(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + "5,1,1\n3.5,1,1\n")
    error = failure(path)
    assert "line 4: arrival_s is `3.5`, 1.5 s before the row above it" in error.message
    assert f"servecast trace convert --sort {path}" in (error.hint or "")


def test_azure_rows_are_held_to_the_same_rules_under_their_own_names(tmp_path: Path) -> None:
    text = AZURE_TEXT + "2023-11-16 18:16:01,0,5\n16/11/2023 18:17,1,1\n"
    error = failure(written(tmp_path, text))
    assert "line 5: ContextTokens is `0`" in error.message
    assert "line 6: TIMESTAMP is `16/11/2023 18:17`" in error.message
    assert "2023-11-16 18:15:46.6805900" in error.message


def test_an_output_longer_than_its_declared_limit_is_refused(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,output_tokens,max_tokens\n0,10,9,8\n"
    error = failure(written(tmp_path, text))
    assert "line 2: output_tokens is `9`" in error.message
    assert "at most the max_tokens of the request, `8`" in error.message


def test_all_bad_lines_come_in_one_error_up_to_the_number_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + "1,0,0\n2,1\n3,1,1\n4,-1,1\n")
    whole = failure(path)
    assert "has 4 bad lines" in whole.message
    assert [line[:9] for line in whole.message.splitlines()[1:]] == [
        "  line 3:",
        "  line 3:",
        "  line 4:",
        "  line 6:",
    ]
    assert "has at least 2 bad lines" in failure(path, max_bad=2).message


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ('{"arrival_s": 1, "input_tokens": 5, "outp', "is not a JSON object"),
        ("[1, 5, 5]", "is not a JSON object"),
        ('{"arrival_s": 1, "input_tokens": 5}', "key `output_tokens`"),
        ('{"arrival_s": NaN, "input_tokens": 5, "output_tokens": 5}', "arrival_s is `NaN`"),
        ('{"arrival_s": 1, "input_tokens": null, "output_tokens": 5}', "input_tokens is `null`"),
        ('{"arrival_s": 1, "input_tokens": true, "output_tokens": 5}', "input_tokens is `true`"),
        ('{"arrival_s": 1, "input_tokens": [5], "output_tokens": 5}', "input_tokens is `["),
    ],
)
def test_a_bad_jsonl_row_is_named_by_its_line_in_the_file(
    tmp_path: Path, row: str, value: str
) -> None:
    error = failure(written(tmp_path, JSONL_TEXT + row + "\n", "a.jsonl"))
    assert "line 5:" in error.message
    assert value in error.message


@pytest.mark.parametrize(
    ("text", "value", "hint"),
    [
        ("", "is empty", "header such as `arrival_s"),
        ("\n  \n", "is empty", "header such as `arrival_s"),
        ("arrival_s,input_tokens,output_tokens\n", "has a header and no rows", "a row a request"),
        ("0.0,374,44\n1.0,5,5\n", "line 1: `0.0,374,44` is a row", "header such as"),
        ("\n0.0,374,44\n", "line 2: `0.0,374,44` is a row", "header such as"),
        ("2023-11-16 18:15:46.68,374,44\n", "line 1:", "header such as"),
        ('[{"arrival_s": 0}]', "line 1: a JSON array", "on a line of its own"),
        ('{"arrival_s": 0,\n', 'line 1: `{"arrival_s": 0,` is not a JSON object', "one object"),
        ("a\0b\n", "is not text", "CSV or JSONL"),
    ],
)
def test_a_file_without_header_or_rows_says_which(
    tmp_path: Path, text: str, value: str, hint: str
) -> None:
    error = failure(written(tmp_path, text))
    assert value in error.message
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("header", "missing", "hint"),
    [
        (
            "arrival_s,inptu_tokens,output_tokens",
            "`input_tokens` or `prompt_tokens`",
            "inptu_tokens",
        ),
        ("arrival_s,input_tokens", "`output_tokens`", "name the columns arrival_s"),
        ("arrival_s;input_tokens;output_tokens", "`input_tokens`", "columns by commas"),
        (
            "arival_s,input_tokens,output_tokens",
            "`arrival_s` or `arrival_ms`",
            "did you mean `arival_s`",
        ),
        (
            "TIMESTAMP,ContextToken,GeneratedTokens",
            "`ContextTokens`",
            "did you mean `ContextToken`",
        ),
        (
            "timestamp,input_length,output_length",
            "and `output_tokens`",
            "timestamp` is read as seconds",
        ),
    ],
)
def test_a_missing_column_is_named_with_the_nearest_there_is(
    tmp_path: Path, header: str, missing: str, hint: str
) -> None:
    error = failure(written(tmp_path, header + "\n1,1,1\n"))
    assert missing in error.message
    assert f"columns: {header.replace(',', ', ')}" in error.message
    assert hint in (error.hint or "")


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,input_tokens,output_tokens\n0,1,2,1\n"
    assert "names the column `input_tokens` twice" in failure(written(tmp_path, text)).message


def test_a_missing_file_names_its_nearest_neighbour(tmp_path: Path) -> None:
    near = written(tmp_path, PLAIN_TEXT, "azure2023_conv.csv.gz")
    error = failure(tmp_path / "azure2023_con.csv.gz")
    assert "azure2023_con.csv.gz` does not exist" in error.message
    assert error.hint == f"did you mean `{near}`?"
    assert "no folder" in failure(tmp_path / "nowhere" / "a.csv").message
    assert "is a folder" in failure(tmp_path).message


def test_what_is_neither_text_nor_gzip_of_text_says_so(tmp_path: Path) -> None:
    binary = tmp_path / "a.parquet"
    binary.write_bytes(b"PAR1\xff\xfe\xfa")
    assert "is not UTF-8 text" in failure(binary).message
    whole = gzip.compress(PLAIN_TEXT.encode() * 50)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole[:-12])
    assert "damaged gzip" in failure(cut).message


@pytest.mark.parametrize("options", [{"limit": 0}, {"max_bad": 0}])
def test_options_out_of_range_name_their_rule(tmp_path: Path, options: dict[str, int]) -> None:
    assert "must be at least 1" in failure(written(tmp_path, PLAIN_TEXT), **options).message


def test_length_pairs_are_read_without_arrivals(tmp_path: Path) -> None:
    pairs = read_lengths(written(tmp_path, "output_tokens,input_tokens\n3,10\n7,20\n"))
    assert pairs.input_tokens.tolist() == [10, 20]
    assert pairs.output_tokens.tolist() == [3, 7]
    with pytest.raises(InputError, match="no column `input_tokens` or `prompt_tokens`"):
        read_lengths(written(tmp_path, "output_tokens\n3\n"))
    with pytest.raises(InputError, match="line 2: input_tokens is `0`"):
        read_lengths(written(tmp_path, "output_tokens,input_tokens\n3,0\n"))
    with pytest.raises(InputError, match="no rows"):
        read_lengths(written(tmp_path, "output_tokens,input_tokens\n"))


def test_rows_beyond_one_chunk_keep_their_order_and_line_numbers(tmp_path: Path) -> None:
    rows = [f"{place},{place % 7 + 1},2\n" for place in range(70_000)]
    text = "arrival_s,input_tokens,output_tokens\n" + "".join(rows)
    workload = read(written(tmp_path, text))
    assert len(workload) == 70_000
    assert workload.arrival_ns[-1] == 69_999 * 10**9
    error = failure(written(tmp_path, text + "3,1,1\n"))
    assert "line 70002: arrival_s is `3`" in error.message


def test_the_published_conversation_trace_loads_in_well_under_a_second(
    data_dir: Path,
) -> None:
    started_s = time.process_time()
    workload = read(data_dir / "traces" / "azure2023_conv.csv.gz")
    assert time.process_time() - started_s < 1.0
    assert len(workload) == 19_366
    assert workload.attribution == ATTRIBUTION


@pytest.mark.parametrize(
    ("name", "rows", "block_tokens", "blocks"),
    [
        ("mooncake_conversation.jsonl.gz", 12_031, 512, 288_500),
        ("mooncake_synthetic.jsonl.gz", 3993, 512, 121_877),
        ("lss_sharegpt-qwen3-32b-300-sps10.jsonl.gz", 300, 16, 16_034),
    ],
)
def test_published_jsonl_traces_load_with_the_prefixes_they_name(
    data_dir: Path, name: str, rows: int, block_tokens: int, blocks: int
) -> None:
    workload = read(data_dir / "traces" / name)
    assert len(workload) == rows
    assert workload.prefixes is not None
    assert workload.prefixes.block_tokens == block_tokens
    assert int(workload.prefixes.blocks().sum()) == blocks
