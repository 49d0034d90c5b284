"""The Azure LLM inference traces, as Microsoft publishes them.

`TIMESTAMP,ContextTokens,GeneratedTokens`; time stamps have 100 ns digits, and those of 2024 a
UTC offset. Source: Azure/AzurePublicDataset, AzureLLMInferenceTrace files, CC-BY-4.0.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from servecast.traces.formats import TraceFormat
from servecast.traces.quantities import NS_PER_S, Quantity, scaled_integer

ATTRIBUTION = "Azure LLM inference trace, Microsoft Azure (Azure/AzurePublicDataset), CC-BY-4.0"

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d):(\d\d(?:\.\d{1,9})?)(?:Z|\+00:00)?", re.ASCII)
_FILE_NAME = re.compile(r"azure.?(llm|20\d\d)", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_ns(text: str) -> int:
    """Nanoseconds since 1970 of a time stamp, taken as UTC; ValueError if it is none."""
    stamp = _STAMP.fullmatch(text.strip())
    if stamp is None:
        raise ValueError(text)
    second_ns = scaled_integer(stamp[2], 9)
    minute_ns = _minute_ns(stamp[1])
    if second_ns >= 60 * NS_PER_S or minute_ns < 0:
        raise ValueError(text)
    return minute_ns + second_ns


@lru_cache(maxsize=4096)
def _minute_ns(text: str) -> int:
    """Cached, as a busy hour repeats sixty of them."""
    minute = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return (minute - _EPOCH) // timedelta(minutes=1) * 60 * NS_PER_S


def names_azure(file_name: str) -> bool:
    """Whether a file of another format says by its name that it holds Azure's data."""
    return _FILE_NAME.search(file_name) is not None


AZURE = TraceFormat(
    name="azure",
    arrival={"TIMESTAMP": Quantity(utc_ns, "a time such as `2023-11-16 18:15:46.6805900`")},
    input_tokens=("ContextTokens",),
    output_tokens=("GeneratedTokens",),
    attribution=ATTRIBUTION,
)
