"""A YAML document as plain values, with the line on which each of them stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import yaml

from servecast.errors import InputError
from servecast.faults import Fault, Place

_MAPPING, _SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_START = "`servecast init` writes a scenario to start from"


@dataclass(frozen=True, slots=True)
class Document:
    """The mapping that a YAML text holds, the line of each path in it, and faults of its form."""

    values: dict[str, object] = field(default_factory=dict[str, object])
    lines: dict[Place, int] = field(default_factory=dict[Place, int])
    faults: list[Fault] = field(default_factory=list[Fault])

    def line(self, path: Place) -> int | None:
        """The line of `path`, or of the nearest thing that encloses it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


def read_document(text: str, name: str) -> Document:
    """The document in `text`; a text that is no YAML mapping raises one error, with its line.

    Duplicate keys and keys that are not text become faults of the document. Aliases are refused:
    a few lines of them can expand without bound. A date stays text.
    """
    document = Document()
    try:
        _refuse_aliases(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{name} holds no fields", hint=_START)
        document.values.update(_mapping(node, (), document))
    except yaml.YAMLError as error:
        raise InputError(f"{name} is not YAML: {_reason(error)}", hint=_START) from error
    except RecursionError as error:
        raise InputError(f"{name} is nested too deeply", hint=_START) from error
    return document


def _mapping(node: yaml.MappingNode, path: Place, document: Document) -> dict[str, object]:
    values: dict[str, object] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        line = key_node.start_mark.line + 1
        if not isinstance(key, str) or not key_node.tag.endswith(":str"):
            document.faults.append(Fault(path, f"a key on line {line} is not text", line=line))
            continue
        if key in values:
            first = document.lines[*path, key]
            message = f"stated twice, first on line {first}"
            document.faults.append(Fault((*path, key), message, line=line))
            continue
        document.lines[*path, key] = line
        values[key] = _value(value_node, (*path, key), document)
    return values


def _value(node: yaml.Node, path: Place, document: Document) -> object:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
        return [_value(item, (*path, index), document) for index, item in enumerate(node.value)]
    return _scalar(node, path, document)


def _scalar(node: yaml.Node, path: Place, document: Document) -> object:
    tag = node.tag.removeprefix("tag:yaml.org,2002:")
    try:
        if not isinstance(node, yaml.ScalarNode) or tag not in _SCALARS:
            raise ValueError(f"the tag {node.tag} is not accepted")
        return _SCALARS[tag](node)
    except (ValueError, KeyError) as error:
        document.faults.append(Fault(path, str(error), line=document.line(path)))
        return None


def _integer(node: yaml.ScalarNode) -> int:
    value = _SAFE.construct_yaml_int(node)
    if value.bit_length() > 63:
        raise ValueError("the number is out of range")
    return value


def _text(node: yaml.ScalarNode) -> str:
    return str(node.value)


_SAFE = yaml.SafeLoader("")
_SCALARS: dict[str, Callable[[yaml.ScalarNode], object]] = {
    "str": _text,
    "timestamp": _text,
    "int": _integer,
    "float": _SAFE.construct_yaml_float,
    "bool": _SAFE.construct_yaml_bool,
    "null": _SAFE.construct_yaml_null,
}


def _refuse_aliases(text: str, name: str) -> None:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else "?"
            raise InputError(
                f"{name}, line {line}: the alias *{event.anchor} is not accepted",
                hint="write the value out where it is needed",
            )


def _reason(error: yaml.YAMLError) -> str:
    """PyYAML's reason in one line, led by the line number."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return " ".join(str(error).split())
