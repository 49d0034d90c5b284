"""What an engine's front end does to a workload before its scheduler sees it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.simulator.request import Request
from servecast.traces.workload import Workload


class Admission:
    """Rejects prompts and cuts outputs, and hands the rest on as requests.

    vLLM refuses a prompt that leaves no room for one token, and ends a request at its `max_tokens`
    or at the model length, whichever comes first.
    """

    def __init__(self, workload: Workload, max_model_len: int) -> None:
        room = max_model_len - workload.prompt_tokens
        accepted = room >= 1
        if len(workload) and not accepted.any():
            raise InputError(
                f"every prompt of workload `{workload.name}` exceeds max_model_len {max_model_len} "
                f"(the shortest has {int(workload.prompt_tokens.min())} tokens)",
                hint="raise deployment.max_model_len, or serve a model with a longer context",
            )
        self._workload = workload
        self._accepted = np.flatnonzero(accepted)
        self.rejected: NDArray[np.int64] = np.flatnonzero(~accepted)
        allowed = np.minimum(workload.max_tokens, room)
        self._output = np.minimum(workload.output_tokens, allowed)
        cut = accepted & (self._output < workload.output_tokens)
        self.truncated = int(cut.sum())

    def requests(self) -> Iterator[Request]:
        """The accepted requests, made one by one as they are asked for."""
        workload, rows = self._workload, self._accepted
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096]
            columns = (
                part,
                workload.arrival_ns[part],
                workload.prompt_tokens[part],
                self._output[part],
                workload.max_tokens[part],
            )
            for row in zip(*(column.tolist() for column in columns), strict=True):
                yield Request(*row)
