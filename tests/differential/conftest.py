"""Every test in this folder lays what is simulated beside the real engine, batch for batch.

`pytest -m differential`, where an engine is installed, compares with that release: whichever it is,
where the pin in `timewarp/data` is changed. A test tells how many batches it compared by the
property `batches`, and the end of the run sums them up.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.differential)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports: list[pytest.TestReport] = [
        *terminalreporter.getreports("passed"),
        *terminalreporter.getreports("failed"),
    ]
    counts = [
        (report.passed, int(str(value)))
        for report in reports
        for name, value in report.user_properties
        if name == "batches"
    ]
    if counts:
        differing = sum(not passed for passed, _ in counts)
        batches = sum(count for _, count in counts)
        terminalreporter.write_sep("-", "beside the real engine")
        terminalreporter.write_line(
            f"{len(counts)} configurations, {batches:,} batches; {differing} configurations differ"
        )
