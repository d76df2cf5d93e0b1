"""The local stack: every server and Airflow program that Sluice needs, on this machine, supervised."""

import sys
from pathlib import Path

# The stack reads the declared queues, and is started before anything has set a search path.
_INCLUDE = str(Path(__file__).resolve().parents[2] / "include")
if _INCLUDE not in sys.path:
    sys.path.append(_INCLUDE)
