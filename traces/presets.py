"""Presets: named traffic shapes whose lengths follow published traces and data sets.

Each is a mixture of lognormal bells, fitted to the published length pairs by expectation
maximisation; `summarization` and `rag` then to percentiles. What each mixture achieves is held
to the published mean, p50 and p95 by the tests. A preset has no prefix sharing between requests.
"""

from __future__ import annotations

from dataclasses import dataclass

from servecast.errors import unknown
from servecast.traces.arrivals import ArrivalProcess, Gamma, Poisson
from servecast.traces.azure import ATTRIBUTION
from servecast.traces.lengths import Bell, LengthModel, LognormalLengths


@dataclass(frozen=True, slots=True)
class TrafficShape:
    """What requests look like, apart from how many there are and how often they come."""

    name: str
    lengths: LengthModel
    arrivals: ArrivalProcess
    source: str = ""
    """Which published figures the shape follows, and where it departs from them."""
    attribution: str = ""


_CHAT = TrafficShape(
    name="chat",
    lengths=LognormalLengths(
        bells=(
            Bell(0.533, 520, 1.041, 103, 0.403, -0.31),
            Bell(0.273, 1073, 0.068, 404, 0.045),
            Bell(0.075, 4088, 0.02, 56, 0.471),
            Bell(0.064, 419, 0.78, 62, 1.169, 0.75),
            Bell(0.054, 1076, 0.062, 508, 0.14, 0.07),
        ),
        input_range=(2, 14_050),
        output_range=(7, 1000),
    ),
    arrivals=Poisson(),
    source=(
        "Azure LLM inference trace 2023, conversation: 19,366 requests, input mean 1154.7 "
        "p50 1020 p95 4083, output mean 211.1 p50 129 p95 451, interarrival cv 1.09"
    ),
    attribution=f"shaped on: {ATTRIBUTION}",
)

_CODE = TrafficShape(
    name="code",
    lengths=LognormalLengths(
        bells=(
            Bell(0.306, 2014, 0.618, 10, 0.27, 0.1),
            Bell(0.234, 1869, 0.647, 28, 0.66, 0.09),
            Bell(0.224, 267, 1.259, 12, 0.413, 0.23),
            Bell(0.11, 361, 1.573, 63, 1.012, 0.5),
            Bell(0.076, 1664, 0.815, 6, 0.072, 0.03),
            Bell(0.05, 7413, 0.02, 16, 0.729, -0.03),
        ),
        input_range=(3, 7437),
        output_range=(6, 1899),
    ),
    # The trace's own cv, 13.2, comes from few long silences: 2,000 such gaps would miss the rate
    # by a third. 4.7 gives its dispersion in windows of 1 s at its rate, and not its slow swings.
    arrivals=Gamma(cv=4.7),
    source=(
        "Azure LLM inference trace 2023, code: 8,819 requests, input mean 2047.8 p50 1469 "
        "p95 7303.3, output mean 27.9 p50 13 p95 90; index of dispersion 13.2 in windows of 1 s "
        "at 2.57/s, which the arrivals reproduce, and 164 in windows of 60 s, which they do not: "
        "replay the trace itself to study overload"
    ),
    attribution=f"shaped on: {ATTRIBUTION}",
)

_SHAREGPT = TrafficShape(
    name="sharegpt",
    lengths=LognormalLengths(
        bells=(
            Bell(0.353, 99, 0.744, 1925, 0.106, -0.33),
            Bell(0.225, 38, 1.375, 429, 0.799, -0.33),
            Bell(0.191, 90, 0.943, 1068, 0.388, -0.31),
            Bell(0.114, 22, 0.668, 404, 0.687, 0.65),
            Bell(0.067, 386, 0.275, 1541, 0.137, -0.53),
            Bell(0.05, 8, 1.663, 57, 1.796, -0.08),
        ),
        input_range=(1, 614),
        output_range=(1, 3333),
    ),
    arrivals=Poisson(),
    source=(
        "ShareGPT (vicuna) lengths of openshift-psap/performance-dashboard: 81,494 pairs, input "
        "mean 121.9 p50 72 p95 432, output mean 1210.9 p50 1311 p95 2201; no arrivals published"
    ),
)

_SUMMARIZATION = TrafficShape(
    name="summarization",
    lengths=LognormalLengths(
        bells=(
            Bell(0.454, 2614, 0.222, 157, 0.585, -0.1),
            Bell(0.283, 3476, 0.068, 175, 0.398, -0.32),
            Bell(0.216, 1511, 0.462, 143, 0.658, -0.04),
            Bell(0.046, 183, 1.782, 2324, 0.449, -0.1),
        ),
        input_range=(1, 4054),
        output_range=(5, 4056),
    ),
    arrivals=Poisson(),
    source=(
        "arXiv summarization lengths of microsoft/vidur: 28,257 pairs, input mean 2588.1 p50 2730 "
        "p95 3813, output mean 291.4 p50 167 p95 736.2; no arrivals published"
    ),
)

_REASONING = TrafficShape(
    name="reasoning",
    lengths=LognormalLengths(
        bells=(
            Bell(0.525, 1059, 0.174, 2027, 0.772, -0.2),
            Bell(0.226, 156, 0.575, 4457, 0.684, -0.16),
            Bell(0.17, 890, 0.044, 669, 0.412, 0.32),
            Bell(0.068, 395, 0.79, 11_423, 0.402, -0.37),
            Bell(0.011, 886, 0.612, 32_768, 0.0),
        ),
        input_range=(52, 3140),
        output_range=(209, 32_768),
    ),
    arrivals=Poisson(),
    source=(
        "MLPerf DeepSeek-R1 lengths of openshift-psap/performance-dashboard: 4,388 pairs, input "
        "mean 803.8 p50 901.5 p95 1312, output mean 4043.4 p50 2194 p95 13854.1, one in ninety "
        "cut at 32,768; no arrivals published"
    ),
)

_LONG_CONTEXT = TrafficShape(
    name="long_context",
    lengths=LognormalLengths(
        bells=(
            Bell(0.386, 9760, 0.893, 426, 0.259, -0.03),
            Bell(0.245, 9463, 0.928, 304, 0.699, 0.25),
            Bell(0.184, 7951, 1.089, 26, 1.42, -0.08),
            Bell(0.073, 1442, 0.234, 414, 0.442, 0.39),
            Bell(0.067, 904, 0.02, 356, 0.476, 0.08),
            Bell(0.045, 952, 0.064, 41, 1.427, 0.4),
        ),
        input_range=(891, 126_195),
        output_range=(1, 2000),
    ),
    arrivals=Poisson(),
    source=(
        "Mooncake conversation trace: 12,031 requests, input mean 12035.1 p50 6909 p95 39550.5, "
        "output mean 342.6 p50 350 p95 698; its arrivals are quantised to about 3 s and not "
        "followed, nor is the 37 % of its input tokens that an ideal prefix cache would serve"
    ),
)

_RAG = TrafficShape(
    name="rag",
    lengths=LognormalLengths(
        bells=(
            Bell(0.342, 11_546, 0.189, 418, 0.551),
            Bell(0.342, 5817, 0.599, 837, 0.136),
            Bell(0.198, 11_546, 0.189, 837, 0.136),
            Bell(0.118, 5817, 0.599, 418, 0.551),
        ),
        input_range=(1, 19_988),
        output_range=(1, 1830),
    ),
    arrivals=Poisson(),
    source=(
        "MLPerf Llama-3.1-405B lengths of openshift-psap/performance-dashboard, a stand-in as no "
        "trace of retrieval-augmented traffic is published: 8,313 pairs, input mean 9428.6 "
        "p50 10112 p95 15831.2, output mean 684.7 p50 753 p95 1048; no arrivals published"
    ),
)

PRESETS: dict[str, TrafficShape] = {
    shape.name: shape
    for shape in (_CHAT, _CODE, _SHAREGPT, _SUMMARIZATION, _REASONING, _LONG_CONTEXT, _RAG)
}


def preset(name: str) -> TrafficShape:
    """The preset of that name; InputError naming the nearest where there is none."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS, command="see `servecast trace synthesize --help`")
    return PRESETS[name]
