"""The shipped catalogue; of a folder that `SLUICE_CATALOG` names, `queues.py` and its like take the place of these."""

from etl import catalog_folder

catalog_folder.let_own_files_replace_shipped_ones()
