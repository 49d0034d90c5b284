"""Every test that asks a real engine says which, and the continuous run has a stage for each."""

from __future__ import annotations

import re

from tests.house.sources import ROOT, files

MARKER = re.compile(r"""mark\.engine\b(?:\(name=["'](\w+)["']\))?""")
STAGE = re.compile(r"engine\(name='(\w+)'\)")


def test_the_engines_of_the_markers_are_those_of_the_stages() -> None:
    named: set[str] = set()
    nameless: list[str] = []
    for path in files(ROOT / "tests", ".py"):
        for match in MARKER.finditer(path.read_text(encoding="utf-8")):
            named.add(match[1])
            if match[1] is None:
                nameless.append(str(path.relative_to(ROOT)))
    assert nameless == []
    assert named == set(STAGE.findall((ROOT / ".ci" / "run").read_text(encoding="utf-8")))
    assert {"vllm", "sglang", "transformers"} <= named
