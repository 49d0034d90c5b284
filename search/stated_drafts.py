"""The drafts that a user's own start command states."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast, get_args

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.drafts_by_batch import Ranges, check_ranges
from servecast.primitives.speculation import Method
from servecast.search.command_line import CommandLine

OPTION = "--speculative-config"
_SHORT = {
    "--spec-method": "method",
    "--spec-model": "model",
    "--spec-tokens": "num_speculative_tokens",
}
NAMES = frozenset((OPTION, *_SHORT))
"""The options that state drafts."""

_OF_ACCEPTANCE = frozenset(
    (
        "prompt_lookup_max",
        "prompt_lookup_min",
        "draft_sample_method",
        "rejection_sample_method",
        "synthetic_acceptance_rates",
        "synthetic_acceptance_length",
    )
)
"""Keys that bear on nothing but how much is accepted, which a scenario states."""
_BY_BATCH = "num_speculative_tokens_per_batch_size"
_EXAMPLE = f"write it as {OPTION} '" + '{"method": "ngram", "num_speculative_tokens": 3}' + "'"


@dataclass(frozen=True, slots=True)
class StatedDrafts:
    """Who drafts, and how many tokens; how many are accepted is not in a command."""

    method: Method
    num_speculative_tokens: int
    model: str | None
    by_batch: Ranges = ()
    """Fewer in larger steps (`num_speculative_tokens_per_batch_size`)."""


def stated_drafts(line: CommandLine) -> StatedDrafts | None:
    """What the command says of drafts, or None where it says nothing.

    InputError for a value that vLLM refuses; UnsupportedError for a method or a key that is not
    modelled.
    """
    keys = _keys(line)
    if not keys:
        return None
    method, tokens, model = _method(keys), keys.get("num_speculative_tokens"), keys.get("model")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        raise InputError(
            f"option `{OPTION}` has num_speculative_tokens `{tokens}`, not a whole number above 0",
            hint=_EXAMPLE,
        )
    named = {"method", "model", "num_speculative_tokens", _BY_BATCH}
    others = set(keys) - named - _OF_ACCEPTANCE
    if others:
        raise UnsupportedError(
            f"option `{OPTION}` sets what is not modelled yet: {', '.join(sorted(others))}",
            hint="leave it out of --current to compare with the rest of the command",
        )
    is_whole = method in ("ngram", "mtp")
    own = None if is_whole or model is None else str(model)
    return StatedDrafts(method, tokens, own, _ranges(keys))


def _keys(line: CommandLine) -> dict[str, object]:
    """The options as keys of one mapping; those with a dot or of their own come after the JSON."""
    keys: dict[str, object] = {}
    for name, given in line.options.items():
        if name == OPTION:
            keys = {**_object(given.value), **keys}
        elif name.startswith(OPTION):
            keys[name.removeprefix(OPTION)] = _plain(given.value)
        elif name in _SHORT:
            keys[_SHORT[name]] = _plain(given.value)
    return keys


def _ranges(keys: Mapping[str, object]) -> Ranges:
    """The drafts by batch size; InputError where vLLM would not take them."""
    stated = keys.get(_BY_BATCH)
    try:
        rows = cast("Sequence[Sequence[int]]", stated or ())
        ranges = tuple((int(first), int(last), int(drafts)) for first, last, drafts in rows)
    except (TypeError, ValueError):
        raise InputError(
            f"option `{OPTION}` has {_BY_BATCH} `{stated}`, not a list of [first, last, drafts]",
            hint="write it in the JSON, as [[1, 64, 3], [65, 128, 1]]",
        ) from None
    check_ranges(ranges)
    return ranges


def _object(text: str) -> Mapping[str, object]:
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise InputError(f"option `{OPTION}` is not JSON: {error}", hint=_EXAMPLE) from None
    if not isinstance(found, dict):
        raise InputError(f"option `{OPTION}` is `{text}`, not a JSON object", hint=_EXAMPLE)
    return cast("Mapping[str, object]", found)


def _plain(text: str) -> object:
    return int(text) if text.isdecimal() else text


def _method(keys: Mapping[str, object]) -> Method:
    """The method as vLLM 0.32.0 finds it where only a model is named."""
    stated, model = keys.get("method"), str(keys.get("model") or "").lower()
    if stated is None and model in ("ngram", "[ngram]"):
        stated = "ngram"
    elif stated in (None, "draft_model"):
        heads = (("eagle-", "eagle"), ("eagle3", "eagle3"))
        stated = next((head for sign, head in heads if sign in model), "draft_model")
    elif str(stated).endswith("_mtp"):
        stated = "mtp"
    for known in cast("tuple[Method, ...]", get_args(Method)):
        if stated == known:
            return known
    raise UnsupportedError(
        f"option `{OPTION}` has method `{stated}`, which is not modelled yet\n"
        f"  known: {', '.join(get_args(Method))}",
        hint="leave it out of --current to compare with the rest of the command",
    )
