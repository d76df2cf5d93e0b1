"""The catalogue of one's own, whose folder `SLUICE_CATALOG` names: `catalog.providers.mybank` is a file of that folder.

What is beside this file is the example that `sluice init` writes; it is not imported from here.
"""

from etl import catalog_folder

_catalog = catalog_folder.find()
__path__ = [] if _catalog.is_shipped else [str(_catalog.folder)]

# Discovery imports all declarations. It must begin before one of them is imported, which would be found half imported.
from etl.catalog import entities, notices  # noqa: E402, F401
