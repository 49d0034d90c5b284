"""What a recorded step takes by what is in it, for steps that were not recorded."""

from __future__ import annotations

import numpy as np

from servecast.timewarp.least_squares import Floats, not_negative

LEAST_STEPS = 12
"""Fewer of one kind, with or without prompts, say too little: all steps are then one kind."""


def features(work: Floats) -> Floats:
    """What time goes by, a row a step: the step, its tokens, its requests, and what they attend to.

    `work` has the columns of `StepWork.key`, so contexts by their mean.
    """
    sequences, queries, mean, prompts, new_tokens, past_tokens, pairs = work.T
    ones = np.ones(len(work))
    cached = sequences * mean
    tokens, requests = queries + new_tokens, sequences + prompts
    return np.stack([ones, tokens, requests, cached, past_tokens, pairs], axis=1)


class RecordedFit:
    """Least squares over `features` without negative coefficients, apart with and without prompts.

    Steps without a prompt run in other graphs, and their time is mostly what they read.
    """

    def __init__(self, work: Floats, seconds: Floats) -> None:
        """`work` as `features` takes it, a row a step."""
        rows, has_prompt = features(work), work[:, 3] > 0
        if min(has_prompt.sum(), (~has_prompt).sum()) < LEAST_STEPS:
            self._decode = self._mixed = not_negative(rows, seconds)
        else:
            self._decode = not_negative(rows[~has_prompt], seconds[~has_prompt])
            self._mixed = not_negative(rows[has_prompt], seconds[has_prompt])

    def seconds(self, work: Floats) -> Floats:
        """Of steps, a row each."""
        rows = features(work)
        mixed = np.asarray(rows @ self._mixed, dtype=np.float64)
        return np.where(work[:, 3] > 0, mixed, rows @ self._decode)
