"""Traces of Mooncake and of Qwen-Bailian, which list the KV blocks that prompts begin with.

Both have `timestamp,input_length,output_length,hash_ids`, an equal id being an equal chain of
blocks. Mooncake counts milliseconds and blocks of 512 tokens; Bailian seconds and blocks of 16, and
names the conversation of each request. Sources: kvcache-ai/Mooncake and
alibaba-edu/qwen-bailian-usagetraces-anon, both Apache-2.0.
"""

from __future__ import annotations

from servecast.traces.formats import TraceFormat
from servecast.traces.quantities import MILLISECONDS, SECONDS

MOONCAKE = TraceFormat(
    name="mooncake",
    arrival={"timestamp": MILLISECONDS},
    input_tokens=("input_length",),
    output_tokens=("output_length",),
    prefix_ids=("hash_ids",),
    block_tokens=512,
    telltale=("hash_ids",),
)
BAILIAN = TraceFormat(
    name="bailian",
    arrival={"timestamp": SECONDS},
    input_tokens=("input_length",),
    output_tokens=("output_length",),
    prefix_ids=("hash_ids",),
    block_tokens=16,
    telltale=("hash_ids", "chat_id"),
)
