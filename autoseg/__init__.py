"""autoseg: train and test the segmentation of your own medical images, and measure what was segmented.

The public functions, in the order in which a day's work uses them, are listed in `__all__`. Heavy packages
(torch, pandas, matplotlib) load when a function first needs them.
"""

import os

import lazy_loader

# Read when torch is first imported: waiting threads that spin halve the speed as soon as another program
# uses a core, and cost nothing when they sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "device": ["find_computer", "measure_speed"],
        "settings": ["AugmentationSettings", "NetworkSettings", "PreprocessSettings", "Settings"],
        "image": ["Image", "LabelMap"],
        "structures": ["Structure"],
        "files.dicom": ["find_series", "read_series"],
        "cases": ["find_cases", "pairs_table", "read_case"],
        "checks": ["check_cases", "findings_table"],
        "split": ["split_cases"],
        "agreement": ["compare_with_expert", "comparison_table"],
        "report": [
            "measure_labels",
            "segment_folder",
            "train_and_save",
        ],
        "dataset": ["preview"],
        "history": ["format_epoch", "history_rows"],
        "training": ["train"],
        "model": ["find_model", "load_model", "save_model"],
        "prediction": ["predict"],
        "calibration": ["calibrate"],
        "measurement": ["measure_areas"],
        "area_tables": ["areas_table", "measurements_table"],
        "evaluation": ["score_slices", "scores_table"],
        "figures": ["show_animation", "show_areas", "show_batch", "show_history", "show_overlays"],
        "errors": ["AutosegError"],
    },
)
