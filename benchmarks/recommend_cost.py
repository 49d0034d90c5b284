"""CPU seconds of `servecast recommend` on its built-in scenario, in all and stage by stage.

The command itself runs in a process of its own. A second process, which imports nothing of
servecast before it is asked to, calls what the command calls and looks at its CPU clock between.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib import import_module
from pathlib import Path

from benchmarks.fresh_process import in_fresh_process
from benchmarks.help_cost import cpu_s
from benchmarks.table import Row, show, write

LIMIT_S = 10.0


def stages() -> list[tuple[str, float]]:
    """What ran, in order, each with its CPU seconds; for a fresh process."""
    marks = [("interpreter", time.process_time())]

    def done(stage: str) -> None:
        marks.append((stage, time.process_time()))

    import_module("servecast.cli")
    from servecast.loading import builtin
    from servecast.question import question
    from servecast.run_directory import write_run
    from servecast.search.recommend import recommend

    done("import")
    scenario = builtin()
    asked = question(scenario, trials=64)
    done("load and draw the traffic")
    begun: list[str] = []

    def begin(stage: str) -> None:
        if begun:
            done(begun[-1])
        begun.append(stage)

    answer = recommend(asked, stage=begin)
    done(begun[-1])
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder) / scenario.name, scenario, answer)
    done(f"write files ({answer.choices} choices, {answer.simulations} simulations)")
    ends_s = [0.0, *(end_s for _, end_s in marks)]
    return [(name, ends_s[i + 1] - ends_s[i]) for i, (name, _) in enumerate(marks)]


def command_s() -> float:
    """User and system CPU seconds of the command, from start to exit."""
    with tempfile.TemporaryDirectory() as folder:
        return cpu_s(("-m", "servecast", "recommend", "--quiet", "--runs", folder))


def main() -> None:
    """Measure, print, and say whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="processes; the least CPU counts")
    parser.add_argument("--out", type=Path, help="also write the tables: .json or .csv")
    options = parser.parse_args()
    whole = min(command_s() for _ in range(options.repeat))
    split = min(
        (in_fresh_process(stages) for _ in range(options.repeat)),
        key=lambda each: sum(cost_s for _, cost_s in each),
    )
    total: list[Row] = [{"command": "servecast recommend", "CPU s": whole, "target": LIMIT_S}]
    staged: list[Row] = [{"stage": name, "CPU s": cost_s} for name, cost_s in split]
    show("the command", total)
    show("what it calls", staged)
    if options.out:
        write(options.out, {"command": total, "stages": staged})


if __name__ == "__main__":
    main()
