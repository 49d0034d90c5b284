"""The records of a fleet as its clients know them: one for each request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from servecast.simulator.fleet.member import Member
from servecast.simulator.records import Records, merge


def client_records(members: Sequence[Member]) -> Records:
    """The records of all replicas, but for prompts whose request was handed on to another one."""
    records = merge([member.engine.recorder for member in members])
    prefill = [number for number, member in enumerate(members) if member.pool.role == "prefill"]
    if not prefill:
        return records
    of_prompt = np.isin(records.replica, prefill)
    is_handed_on = of_prompt & np.isin(records.index, records.index[~of_prompt])
    return records.rows(np.flatnonzero(~is_handed_on))
