"""nnU-Net's own check of a raw data set; run by the Python of the peer's environment (`exchange.py` does).

python nnunet_check.py FOLDER
"""

import os
import sys
from pathlib import Path

from nnunet_2d import pretend_torchvision

if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[variable] = str(folder.parent)
    pretend_torchvision()
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_dataset_integrity(str(folder), 1)
