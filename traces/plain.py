"""The plain trace format: seconds and tokens under their own names, which `write` writes."""

from __future__ import annotations

from servecast.traces.formats import TraceFormat
from servecast.traces.quantities import MILLISECONDS, SECONDS

PLAIN = TraceFormat(
    name="plain",
    arrival={"arrival_s": SECONDS, "arrival_ms": MILLISECONDS, "timestamp": SECONDS},
    input_tokens=("input_tokens", "prompt_tokens"),
    output_tokens=("output_tokens",),
    max_tokens=("max_tokens",),
    prefix_ids=("hash_ids",),
    prefix_block=("block_tokens",),
    priority=("priority",),
    follows=("follows",),
    think=("think_s",),
    request_class=("class", "slo_class"),
    attribution_column=("attribution",),
)
