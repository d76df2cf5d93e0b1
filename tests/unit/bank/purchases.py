"""A small file of purchases, with the irregularities of a real one."""

import gzip
from pathlib import Path

HEADER = (
    "source_file,source_row,TRANS DATE,TRANS VAT DESC,ORIGINAL GROSS AMT,ORIGINAL CUR,BILLING GROSS AMT,"
    "BILLING CUR CODE,MERCHANT NAME,CARD NUMBER,DIRECTORATE"
)
ROWS = (
    "april.xls,2,,,,,,,,, ",
    "april.xls,3,2014-04-02 00:00:00,VR,72.61,,72.61,GBP,shell kings 587,************5770,Local Services",
    "april.xls,4,2014-04-01 00:00:00,VR,-5,,,,shell kings 587,************5770,LOCAL SERVICES ",
    "april.xls,5,2014-04-02 00:00:00,VR,10.5,EUR,9,GBP,cafe de paris,************1147,Local Services",
    "may.xls,3,2014-04-02 00:00:00,VR,72.61,,72.61,GBP,shell kings 587,************5770,Local Services",
    "may.xls,10,2014-05-05 00:00:00,VR,20,HUF,,,,************5770,",
    "may.xls,9,2014-05-05 00:00:00,VR,1999.99,GBP,,,amazon uk,************5770,Adults",
)


def write(path: Path, rows: tuple[str, ...] = ROWS) -> Path:
    """Write the rows to `path`, compressed by gzip if its name ends in `.gz`, and return it."""
    text = "\r\n".join((HEADER, *rows)) + "\r\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path
