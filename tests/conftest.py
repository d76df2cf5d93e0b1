"""The tests run on the shipped catalogue, whichever the developer's shell names."""

import os

os.environ.pop("SLUICE_CATALOG", None)
