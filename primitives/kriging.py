"""Ordinary kriging: a prediction as a weighted mean of what is known nearby."""

from __future__ import annotations

import numpy as np

from servecast.primitives.utilisation import Floats

_RANGE = 8.0
"""Octaves over which utilisations stay alike: 4, 8 and 16 were tried (docs/accuracy.md)."""
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
    return np.asarray(np.linalg.solve(system, target)[:count])


def _correlation(octaves: Floats) -> Floats:
    scaled = np.sqrt(3.0) * octaves / _RANGE
    return np.asarray((1.0 + scaled) * np.exp(-scaled))
