from __future__ import annotations

import os
import subprocess
import sys


def test_the_room_is_imported_without_a_library_that_is_slow_to_load() -> None:
    script = (
        "import sys, servecast.traces\n"
        "print(sorted({'pandas', 'scipy', 'sklearn', 'pydantic'} & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
