"""A YAML document as plain values, with the line on which each of them stands."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from servecast.errors import InputError
from servecast.faults import Fault, Path

_MAPPING, _SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_START = "`servecast init` writes a scenario to start from"


@dataclass(frozen=True, slots=True)
class Document:
    """The mapping that a YAML text holds, the line of each path in it, and faults of its form."""

    values: dict[str, object] = field(default_factory=dict[str, object])
    lines: dict[Path, int] = field(default_factory=dict[Path, int])
    faults: list[Fault] = field(default_factory=list[Fault])

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing that encloses it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases: a few lines of them can expand without bound."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not accepted", problem_mark=mark)
        return super().compose_node(parent, index)


def read_document(text: str, name: str) -> Document:
    """The document in `text`; a text that is no YAML mapping raises one error, with its line.

    Duplicate keys and keys that are not text become faults of the document.
    """
    document = Document()
    try:
        node = _Loader(text).get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{name} holds no fields", hint=_START)
        document.values.update(_mapping(node, (), document))
    except yaml.YAMLError as error:
        raise InputError(f"{name} is not YAML: {_reason(error)}", hint=_START) from error
    except RecursionError as error:
        raise InputError(f"{name} is nested too deeply", hint=_START) from error
    return document


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, object]:
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


def _value(node: yaml.Node, path: Path, document: Document) -> object:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
        return [_value(item, (*path, index), document) for index, item in enumerate(node.value)]
    return _scalar(node, path, document)


def _scalar(node: yaml.Node, path: Path, document: Document) -> object:
    try:
        value: object = _Loader("").construct_object(node, deep=True)
    except (ValueError, OverflowError) as error:
        document.faults.append(Fault(path, str(error), line=document.line(path)))
        return None
    if isinstance(value, int) and value.bit_length() > 63:
        document.faults.append(Fault(path, "the number is out of range", line=document.line(path)))
        return None
    return value


def _reason(error: yaml.YAMLError) -> str:
    """PyYAML's reason in one line, led by the line number."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return " ".join(str(error).split())
