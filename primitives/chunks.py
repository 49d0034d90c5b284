"""Prefill chunks on top of cached tokens, from prefills that were measured without any."""

from __future__ import annotations

import numpy as np

from servecast.primitives.cost import Provenance
from servecast.primitives.utilisation import Curve, Floats, Ideal

QUERY_TOKENS = 256
"""Queries below which a chunk with a past gets no cheaper: tiles are padded, and few of them leave
most of the device idle. Of 1,372 chunks measured with a past (LLMServingSim, vLLM 0.19 on an RTX
4090 and an RTX PRO 6000) the median is off by a factor of 1.17 with it and 1.33 without; of those
of 64 tokens or less by 1.23 and 4.2 (2.1 with 128, 1.6 with 512). On other devices: a guess."""


class Chunks:
    """Seconds by past and new tokens, over a curve of whole prefills.

    A chunk of n tokens after p costs what the whole prefill of n + p costs, times the share of its
    ideal time that is the chunk's: where pairs of tokens decide, 1 − (p / (n + p))². It is never
    less than the chunk without its past, and never more than the whole.
    """

    __slots__ = ("_curve", "_ideal")

    def __init__(self, new_tokens: Floats, seconds: Floats, ideal: Ideal) -> None:
        """`new_tokens` ascends; `ideal` takes past and new tokens."""
        self._ideal = ideal
        self._curve = Curve(new_tokens, seconds, self._ideal_alone)

    def seconds(self, *at: Floats) -> Floats:
        """Seconds of chunks after these past tokens, of these new tokens."""
        past, new = (np.asarray(size, np.float64) for size in at)
        if not past.any():
            return self._curve.seconds(new) + 0.0 * past
        padded = np.maximum(new, QUERY_TOKENS)
        sizes = np.stack((new + 0.0 * past, padded + past, new + past))
        ideal = self._ideal_alone(sizes)
        alone, whole, most = (np.asarray(each, np.float64) for each in self._curve.at_ideal(ideal))
        share = self._ideal(past, padded) / ideal[1]
        within = np.minimum(np.maximum(whole * share, alone), most)
        return np.where(past > 0, within, alone)

    def provenance(self, *at: Floats) -> Provenance:
        """As of the whole prefill, but derived where there is a past."""
        past, new = at
        found = self._curve.provenance(np.asarray(new + past))
        is_derived = bool(np.any(past)) and found is Provenance.MEASURED
        return Provenance.INTERPOLATED if is_derived else found

    def left_out(self) -> Floats:
        """Relative errors of whole prefills inside."""
        return self._curve.left_out()

    def left_beyond(self) -> Floats:
        """Relative errors of the longest prefills."""
        return self._curve.left_beyond()

    def _ideal_alone(self, new_tokens: Floats) -> Floats:
        return self._ideal(np.zeros(()), new_tokens)
