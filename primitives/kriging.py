"""Ordinary kriging: a prediction as a weighted mean of what is known nearby.

It predicts the log-utilisation of shapes that were not measured. With the products of vLLM on an
H200 (bf16) thinned to 60 of 483 shapes and each left out in turn, half of the times are within 3 %
and 90 % within 11 %; by inverse distances 7 and 37 %, by a local plane 5 and 27 %, by boosted or
extremely randomized trees (scikit-learn) 4 to 5 and 14 to 16 %.
"""

from __future__ import annotations

import math

import numpy as np

from servecast.primitives.utilisation import Floats

_RANGE = 8.0
"""Octaves over which utilisations stay alike; half and double did no better."""
_NUGGET = 1e-3
"""The share of their variance that is noise of the single measurement."""


def weights(known: Floats, wanted: Floats) -> Floats:
    """Weights, of sum one, of the values at `known` in the best linear prediction at `wanted`.

    Rows are places, in octaves. Values correlate by a Matérn 3/2 law of distance; their mean is
    not known (ordinary kriging). At a known place its own weight is one, but for the nugget.
    """
    count = len(known)
    system = np.ones((count + 1, count + 1))
    between = np.linalg.norm(known[:, None] - known[None], axis=-1)
    system[:count, :count] = _correlation(between) + _NUGGET * np.eye(count)
    system[count, count] = 0.0
    target = np.append(_correlation(np.linalg.norm(known - wanted, axis=-1)), 1.0)
    return np.asarray(np.linalg.solve(system, target)[:count], dtype=np.float64)


def _correlation(octaves: Floats) -> Floats:
    scaled = octaves * (math.sqrt(3.0) / _RANGE)
    return np.asarray((1.0 + scaled) * np.exp(-scaled), dtype=np.float64)
