"""Reading a shell command that starts vLLM into the options it gives, as the engine would."""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from servecast.errors import InputError, nearest
from servecast.search.vllm_options import SHORT_FORMS, VLLM_OPTIONS, VllmOption

_SERVER_MODULES = (
    "vllm.entrypoints.openai.api_server",
    "vllm.entrypoints.launchers.api_server.entry",
)
_IMAGE = re.compile(r"(?:^|/)vllm-openai(?::(?P<tag>[\w.-]+))?(?:@.*)?$")
_ASSIGNMENT = re.compile(r"^(?:--env=|-e=?)?([A-Za-z_]\w*)=(.*)$", re.DOTALL)
_SHELL_ENDS = re.compile(r"^(?:[;&|]+|[0-9&]?>{1,2}.*)$")
_EXAMPLE = "write it as `vllm serve MODEL --max-num-seqs 256 …`"


@dataclass(frozen=True, slots=True)
class GivenOption:
    """One option of the command: a value, or for a flag whether it is on."""

    option: VllmOption
    value: str
    is_on: bool
    text: str
    """How it is shown to the user."""


@dataclass(slots=True)
class CommandLine:
    """What a command says, before it is understood; of an option given twice the last one holds."""

    model: str | None = None
    options: dict[str, GivenOption] = field(default_factory=dict[str, GivenOption])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    image_tag: str | None = None


def read_command_line(command: str) -> CommandLine:
    """The options, environment and image of `vllm serve …`, `python -m …`, or `docker run …`.

    InputError where the command is none of these, names an option that vLLM does not have, leaves
    out a value, or holds a stray word.
    """
    try:
        tokens = shlex.split(command.replace("\\\n", " "))
    except ValueError as error:
        raise InputError(f"the command cannot be read: {error}", hint=_EXAMPLE) from None
    line = CommandLine()
    start = _find_entry(tokens, line)
    for token in tokens[:start]:
        if assignment := _ASSIGNMENT.match(token):
            line.environment[assignment[1]] = assignment[2]
    arguments = tokens[start:]
    ends = (i for i, token in enumerate(arguments) if _SHELL_ENDS.match(token))
    _read_arguments(arguments[: next(ends, len(arguments))], line)
    return line


def _find_entry(tokens: list[str], line: CommandLine) -> int:
    """Index of the first argument of the server."""
    for i, (token, following) in enumerate(itertools.pairwise(tokens)):
        if following == "serve" and PurePosixPath(token).name == "vllm":
            return i + 2
        if token == "-m" and following in _SERVER_MODULES:
            return i + 2
    for i, token in enumerate(tokens):
        if i and (image := _IMAGE.search(token)):
            line.image_tag = image["tag"]
            return i + 1
    shown = " ".join(tokens[:4]) or "(empty)"
    raise InputError(f"command `{shown}` does not start a vLLM server", hint=_EXAMPLE)


def _read_arguments(arguments: list[str], line: CommandLine) -> None:
    i = 0
    while i < len(arguments):
        token = arguments[i]
        i += 1
        if not _is_option(token):
            _take_model(token, line)
            continue
        name, separator, inline = _long_form(token).partition("=")
        option, is_on = _known(name)
        values = [inline] if separator else []
        if not separator and (option.arity != "flag" or "." in name):
            taken = _values(arguments[i:], option)
            i += len(taken)
            values = taken
        if option.arity in ("value", "list") and not values:
            raise InputError(
                f"option `{name}` takes a value and none follows",
                hint=f"write `{option.name} VALUE`, or leave the option out",
            )
        value = " ".join(values)
        text = f"{name} {value}".rstrip() if values else name
        line.options[option.name + name.partition(".")[2]] = GivenOption(option, value, is_on, text)


def _is_option(token: str) -> bool:
    return token.startswith("-") and not re.fullmatch(r"-\d+(?:\.\d+)?", token)


def _take_model(token: str, line: CommandLine) -> None:
    """The one positional argument is the model."""
    if line.model is None:
        line.model = token
        return
    boolean = token.lower() in ("true", "false")
    raise InputError(
        f"argument `{token}` is not expected: the model is already `{line.model}`",
        hint="a flag takes no value: write `--option` or `--no-option`"
        if boolean
        else "quote values that hold spaces, and give options by name",
    )


def _long_form(token: str) -> str:
    """The option with hyphens for underscores, short forms and `-O3` written out."""
    name, separator, inline = token.partition("=")
    head, dot, rest = name.partition(".")
    if re.fullmatch(r"-O\d", head):
        return f"--optimization-level={head[2:]}"
    head = SHORT_FORMS.get(head, head)
    if head.startswith("--"):
        head = SHORT_FORMS.get(head.replace("_", "-"), head.replace("_", "-"))
    return head + dot + rest + separator + inline


def _known(name: str) -> tuple[VllmOption, bool]:
    """The option of this name and whether it is switched on; a unique beginning will do."""
    head = name.partition(".")[0]
    if head in VLLM_OPTIONS:
        return VLLM_OPTIONS[head], True
    positive = "--" + head.removeprefix("--no-")
    if head.startswith("--no-") and positive in VLLM_OPTIONS:
        return VLLM_OPTIONS[positive], False
    beginning = [
        known for known in VLLM_OPTIONS if head.startswith("--") and known.startswith(head)
    ]
    if len(beginning) == 1:
        return VLLM_OPTIONS[beginning[0]], True
    near = nearest(head, VLLM_OPTIONS)
    raise InputError(
        f"option `{name}` is not one of `vllm serve` 0.32.0",
        hint=(f"did you mean `{near}`? " if near else "")
        + "vLLM lists its options with `vllm serve --help=all`",
    )


def _values(rest: list[str], option: VllmOption) -> list[str]:
    """The words after an option that belong to it."""
    most = len(rest) if option.arity == "list" else 1
    taken: list[str] = []
    for token in rest[:most]:
        if _is_option(token):
            break
        taken.append(token)
    return taken
