"""What the project says of itself: the same commands everywhere, and no word about one machine."""

from __future__ import annotations

import re

import pytest

from tests.house.sources import ROOT, files

FORBIDDEN = {
    "a path of the machine it was written on": r"(^|[^A-Za-z.])/(work|farm)/",
    "the host of a package index": r"pypi\.org|pythonhosted\.org|registry\.npmjs",
}


@pytest.mark.parametrize("name", ["TEST_COMMAND", "JOB_COMMAND"])
def test_the_readme_shows_the_command_that_is_tested(name: str) -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    found = re.search(rf"^{name}='(.+)'$", script, re.MULTILINE)
    assert found is not None
    assert found[1] in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_no_file_names(kind: str) -> None:
    pattern = re.compile(FORBIDDEN[kind], re.MULTILINE)
    found: list[str] = []
    for path in files(ROOT):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]!r}" for match in pattern.finditer(text)]
    assert not found
