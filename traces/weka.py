"""WEKA's agentic traces: runs of a coding agent, a row a request, each waiting for another.

A sub-agent's first request follows the row that started it, every other request the one before it
of the same agent. `ref` and `keep` say with which earlier row of the run a prompt shares its first
blocks, and how many. Source: callanjfox/kv-cache-tester, Apache-2.0, as two tables: requests, and
runs with the length of the tools and the system prompt that they begin with.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from servecast.traces.columns import integers
from servecast.traces.faults import Faults
from servecast.traces.files import open_text
from servecast.traces.formats import TraceFormat, require_columns
from servecast.traces.quantities import SECONDS, TOKENS
from servecast.traces.sessions import Sessions
from servecast.traces.tables import Table, open_table
from servecast.traces.weka_chains import BLOCK_TOKENS, WekaPrompt, weka_prefixes
from servecast.traces.weka_rows import KINDS, RUN, WekaRows, weka_rows
from servecast.traces.workload import Workload

WEKA = TraceFormat(
    name="weka",
    arrival={"t_s": SECONDS},
    input_tokens=("input_tokens",),
    output_tokens=("output_tokens",),
    block_tokens=BLOCK_TOKENS,
    own_columns=(*KINDS, RUN),
    telltale=(*KINDS, RUN),
    attribution="WEKA agentic traces (callanjfox/kv-cache-tester), Apache-2.0",
)


def read_weka(table: Table, path: Path, name: str, limit: int | None, faults: Faults) -> Workload:
    """The workload of the first `limit` rows: all runs begin at 0, unless it is closed to a loop.

    What runs have in common is known where the table of runs lies beside that of requests, under
    its name with `sessions` for `requests`. Raises InputError as `read` does.
    """
    rows = weka_rows(table, limit, faults)
    outputs = rows.columns["output_tokens"]
    return Workload(
        name=name,
        arrival_ns=np.zeros_like(outputs),
        prompt_tokens=rows.columns["input_tokens"],
        output_tokens=outputs,
        max_tokens=np.full_like(outputs, outputs.max(initial=1)),
        prefixes=weka_prefixes(_prompts(rows, _openings(path, faults))),
        attribution=WEKA.attribution,
        sessions=_sessions(rows),
    )


def _sessions(rows: WekaRows) -> Sessions:
    """Who follows whom; a pause that is not stated is the time between the two requests."""
    names = ("agent", "t_s", "api_s", "think_s")
    columns = (rows.columns[name].tolist() for name in names)
    last: dict[tuple[int, int], tuple[int, int]] = {}
    follows: list[int] = []
    pauses_ns: list[int] = []
    places = zip(rows.begins.tolist(), rows.of_run("parent_row"), *columns, strict=True)
    for place, (run, parent, agent, at_ns, served_ns, think_ns) in enumerate(places):
        own = last.get((run, agent))
        before, ended_ns = own or (-1 if parent is None else parent, at_ns)
        follows.append(before)
        pauses_ns.append(think_ns if think_ns >= 0 else max(0, at_ns - ended_ns))
        last[run, agent] = (place, at_ns + max(0, served_ns))
    return Sessions(np.array(follows, np.int64), np.array(pauses_ns, np.int64))


def _prompts(rows: WekaRows, openings: dict[str, tuple[int, int]]) -> Iterator[WekaPrompt]:
    blocks = (rows.columns["input_tokens"] // BLOCK_TOKENS).tolist()
    columns = (blocks, rows.of_run("ref"), rows.columns["keep"].tolist())
    numbers = rows.columns["row"].tolist()
    for run, number, own, like, keep in zip(rows.runs, numbers, *columns, strict=True):
        yield WekaPrompt(own, like, keep, None if number else openings.get(run))


def _openings(path: Path, faults: Faults) -> dict[str, tuple[int, int]]:
    """Tokens of tools and of system prompt by run; none where there is no table of runs."""
    beside = path.with_name(path.name.replace("requests", "sessions"))
    if beside == path or not beside.is_file():
        return {}
    found: dict[str, tuple[int, int]] = {}
    with open_text(beside) as text:
        table = open_table(text, beside)
        names = require_columns(table, beside, ((RUN,), ("tool_tokens",), ("system_tokens",)))
        for chunk in table.chunks(names, None, faults):
            tokens = [integers(chunk, place, names, TOKENS, faults).tolist() for place in (1, 2)]
            found.update(zip(chunk.columns[0], zip(*tokens, strict=True), strict=False))
    faults.settle()
    return found
