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
        "settings": [
            "AugmentationSettings",
            "FineTuneSettings",
            "LossSettings",
            "NetworkSettings",
            "PreprocessSettings",
            "Settings",
            "VolumeSettings",
        ],
        "image": ["Image", "LabelMap"],
        "structures": ["Structure"],
        "files.dicom": ["find_series", "read_series"],
        "files.series_table": ["series_table", "thumbnail"],
        "files.tables": ["write_structures"],
        "cases": ["Reading", "declare_absent", "declare_missing", "find_cases", "pairs_table", "read_case"],
        "checks": ["check_cases", "examine_cases", "findings_table"],
        "repairs": ["add_repair", "read_repairs", "undo_repair"],
        "split": ["k_folds", "split_cases"],
        "ledger": ["freeze_test_subjects", "read_ledger"],
        "agreement": ["compare_with_expert", "comparison_table"],
        "report": [
            "measure_labels",
            "segment_folder",
            "train_and_save",
        ],
        "plan": ["change_settings", "plan_settings"],
        "recipes": ["recipe"],
        "dataset": ["preview"],
        "history": ["format_epoch", "history_rows"],
        "training": ["train"],
        "checkpoint": ["find_unfinished", "split_again"],
        "model": ["find_model", "load_model", "save_model"],
        "model_list": ["list_models", "models_table"],
        "prediction": ["find_centreline", "predict"],
        "centreline": ["Centreline", "clicked", "read_centreline", "write_centreline"],
        "centreline_run": ["find_patient_centrelines"],
        "finder": ["automatic_centrelines", "centreline_table", "score_centreline", "train_finder"],
        "combination": ["combine"],
        "combined_run": ["combine_folder"],
        "corrections": [
            "compare_structures",
            "keep_correction",
            "keep_corrections",
            "read_correction",
            "write_kit",
        ],
        "correction_run": ["labels_to_correct", "run_to_correct", "segment_to_correct"],
        "copies": ["wise_copies"],
        "ensemble": ["runs_per_slice"],
        "calibration": ["calibrate"],
        "measurement": ["measure_areas"],
        "area_tables": ["areas_table", "explain_area", "levels_table", "measurements_table"],
        "patient_tables": ["patients_table"],
        "morphometry": [
            "arc_table",
            "cohort_band",
            "locate_enlargement",
            "measure_morphometry",
            "sections_table",
            "write_morphometry",
        ],
        "evaluation": ["score_slices", "scores_table"],
        "summary": ["summarise"],
        "results": ["write_results"],
        "crossvalidation": ["Scenario", "cross_validate"],
        "finetuning": ["check_fit", "settings_from_base", "split_for_base"],
        "comparison": ["compare", "read_comparison"],
        "appraisal": ["appraisal_table", "appraise"],
        "advice": ["advice_text", "advise"],
        "figures": [
            "show_animation",
            "show_areas",
            "show_batch",
            "show_bland_altman",
            "show_centrelines",
            "show_comparison",
            "show_erosions",
            "show_findings",
            "show_history",
            "show_learning_curves",
            "show_morphometry",
            "show_overlays",
            "show_series",
            "show_side_by_side",
            "show_subject_scores",
            "show_worst",
        ],
        "errors": ["AutosegError"],
    },
)
