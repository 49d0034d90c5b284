"""BurstGPT: what users of a campus sent to hosted GPT models, in all three of its files.

`Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type`; the third file has
`Session ID` and `Elapsed time` too. Seconds from the first day. A response of 0 tokens is a request
that failed, which nobody served. Source: HPMLL/BurstGPT, CC-BY-4.0.
"""

from __future__ import annotations

from servecast.traces.formats import TraceFormat
from servecast.traces.quantities import SECONDS

BURSTGPT = TraceFormat(
    name="burstgpt",
    arrival={"Timestamp": SECONDS},
    input_tokens=("Request tokens",),
    output_tokens=("Response tokens",),
    fails_by_no_output=True,
    attribution="BurstGPT trace (HPMLL/BurstGPT), CC-BY-4.0",
)
