"""How tokens spread over experts: evenly, or by the power law that databases measure with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXPONENT = 1.2
FULLEST = 0.8
"""The share of the tokens that the largest load is drawn up to, before loads are scaled."""


def visits(
    tokens: int, experts_per_token: int, experts: int, distribution: str
) -> NDArray[np.int64]:
    """Tokens that each expert gets, busiest last; no expert gets a token twice.

    `balanced` shares them out. `power_law_1.2` gives loads of density load^-1.2 between one token
    and most of them, at even quantiles, scaled to all visits. ValueError for another distribution.
    """
    total = tokens * experts_per_token
    if distribution == "balanced":
        loads = np.ones(experts)
    elif distribution == f"power_law_{EXPONENT}":
        quantiles = (np.arange(experts) + 0.5) / experts
        low, high = 1.0, max(FULLEST * tokens, 1.0) ** (1 - EXPONENT)
        loads = (low + (high - low) * quantiles) ** (1 / (1 - EXPONENT))
    else:
        raise ValueError(f"distribution `{distribution}` is not known")
    return _whole(_capped(loads * total / loads.sum(), tokens), total)


def _capped(loads: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Loads of at most so much, what exceeds it shared by the others in proportion."""
    total = loads.sum()
    while np.any(loads > most * (1 + 1e-9)):
        full = loads >= most
        rest = total - most * full.sum()
        loads = np.where(full, most, loads * rest / loads[~full].sum())
    return loads


def _whole(loads: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Whole numbers near the loads with the sum asked for: the largest remainders go up."""
    found = np.floor(loads + 1e-9).astype(np.int64)
    missing = total - int(found.sum())
    rounded_up = np.argsort(found - loads, kind="stable")[:missing]
    found[rounded_up] += 1
    return found
