"""How much of a run each class took: what its money and energy are divided by."""

from __future__ import annotations

import numpy as np

from servecast.simulator.result import Result


def class_shares(served: Result) -> dict[str, float]:
    """Each class's share of the time of all steps, in the order of the classes; they sum to 1.

    A step's time is shared equally by the tokens that it computes, so that a prompt's tokens,
    of which many share a step, weigh less than those of an answer. Tokens found in a prefix cache
    weigh nothing, those computed again after a preemption count for all prompts alike.
    """
    if served.classes is None:
        return {}
    prompts_s, answers_s = _step_times_s(served)
    records = served.records
    numbers, size = served.classes.numbers[records.index], len(served.classes.names)
    computed = records.prompt_tokens - records.cached_tokens
    prompts = np.bincount(numbers, computed, size)
    answers = np.bincount(numbers, records.output_tokens - 1, size)
    spent = prompts * prompts_s / max(prompts.sum(), 1.0)
    spent += answers * answers_s / max(answers.sum(), 1.0)
    shares = spent / spent.sum() if spent.sum() else np.zeros(size)
    return dict(zip(served.classes.names, shares.tolist(), strict=True))


def _step_times_s(served: Result) -> tuple[float, float]:
    """Seconds of all steps that went to tokens of prompts, and to those of answers."""
    prompts_s = answers_s = 0.0
    for log in served.logs:
        taken_s = log.column("duration_ns") / 1e9
        chunk_tokens, sequences = log.column("chunk_tokens"), log.column("sequences")
        share = chunk_tokens / np.maximum(chunk_tokens + sequences, 1)
        prompts_s += float(taken_s @ share)
        answers_s += float(taken_s @ (1.0 - share))
    return prompts_s, answers_s
