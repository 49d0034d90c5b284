"""What unequal contexts cost: attention over them, beside equal contexts of the same mean.

`python -m benchmarks.unequal_contexts FOLDER` reads LLMServingSim's `lss_vllm019_skew.csv.gz`
(vLLM 0.19, RTX 4090 and RTX PRO 6000), where some of a step's decodes have contexts several times
as long as the others'. A step that has a prompt chunk too is mixed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.table import Row, show

FILE = "lss_vllm019_skew.csv.gz"
REGIMES = {"pure": "decodes alone", "mixed": "beside a prompt chunk"}


def ratios(path: Path) -> dict[str, list[float]]:
    """Measured over equal contexts' time, by what the step holds and how long the long ones are."""
    found: dict[str, list[float]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            longer = f"{float(row['skew']):g} times as long"
            found[f"{REGIMES[row['regime']]}, {longer}"].append(
                float(row["t_skew_us"]) / float(row["t_mean_us"])
            )
    return found


def _row(name: str, found: list[float]) -> Row:
    p10, median, p90 = np.percentile(found, [10, 50, 90]).tolist()
    return {"step": name, "points": len(found), "P10": p10, "median": median, "P90": p90}


def main() -> None:
    """Print a row for each kind of step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help=f"where {FILE} lies")
    found = ratios(parser.parse_args().folder / FILE)
    show("unequal over equal contexts", [_row(name, found[name]) for name in sorted(found)])


if __name__ == "__main__":
    main()
