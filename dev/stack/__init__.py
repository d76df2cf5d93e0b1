"""The local stack: all servers and Airflow programs that Sluice needs, run under a supervisor on this machine."""

import sys
from pathlib import Path

# The stack imports the declared queues, and `python -m dev.stack` may be run without a PYTHONPATH.
_INCLUDE = str(Path(__file__).resolve().parents[2] / "include")
if _INCLUDE not in sys.path:
    sys.path.append(_INCLUDE)
