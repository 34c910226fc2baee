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
        "model.device": ["find_computer", "measure_speed"],
        "model.settings.settings": [
            "AugmentationSettings",
            "FineTuneSettings",
            "LossSettings",
            "NetworkSettings",
            "PostprocessSettings",
            "PreprocessSettings",
            "Settings",
            "VolumeSettings",
        ],
        "image.image": ["Image", "LabelMap"],
        "image.structures": ["Structure"],
        "files.dicom.series": ["find_series", "read_series"],
        "files.dicom.table": ["series_table", "thumbnail"],
        "files.tables": ["write_structures"],
        "data.cases": ["Reading", "declare_absent", "declare_missing", "find_cases", "pairs_table", "read_case"],
        "data.checks": ["check_cases", "examine_cases", "findings_table"],
        "data.repairs": ["add_repair", "read_repairs", "undo_repair"],
        "data.split": ["k_folds", "split_cases"],
        "data.test_subjects": ["freeze_test_subjects", "read_ledger"],
        "evaluation.expert": ["compare_with_expert", "comparison_table"],
        "measurement.areas": ["measure_areas"],
        "measurement.drawn": ["measure_labels"],
        "prediction.run": [
            "combine_folder",
            "find_patient_centrelines",
            "labels_to_correct",
            "run_to_correct",
            "segment_folder",
            "segment_to_correct",
        ],
        "training.save": ["train_and_save"],
        "training.plan": ["change_settings", "plan_settings"],
        "training.recipes": ["recipe"],
        "model.dataset": ["preview"],
        "training.history": ["format_epoch", "history_rows"],
        "training.training": ["train"],
        "training.checkpoint": ["find_unfinished", "split_again"],
        "model.model": ["find_model", "load_model", "save_model"],
        "model.model_list": ["list_models", "models_table"],
        "prediction": ["find_centreline", "predict"],
        "model.centreline": ["Centreline", "clicked", "read_centreline", "write_centreline"],
        "training.finder": ["automatic_centrelines", "centreline_table", "score_centreline", "train_finder"],
        "prediction.combine": ["combine"],
        "data.corrections.keep": ["keep_correction", "keep_corrections"],
        "data.corrections.kit": ["write_kit"],
        "data.corrections.read": ["compare_structures", "read_correction"],
        "prediction.ensemble": ["wise_copies", "runs_per_slice"],
        "image.calibration": ["calibrate"],
        "report.area_tables": [
            "areas_table",
            "explain_area",
            "levels_table",
            "measurements_table",
            "patients_table",
        ],
        "measurement.morphometry": [
            "arc_table",
            "cohort_band",
            "locate_enlargement",
            "measure_morphometry",
            "sections_table",
            "write_morphometry",
        ],
        "measurement.scores": ["score_slices", "scores_table"],
        "measurement.tissue": ["FatChannels", "measure_tissue", "tissue_table"],
        "report.asymmetry": ["asymmetry_table"],
        "measurement.summary": ["summarise"],
        "report.score_files": ["write_results"],
        "evaluation.calibrate": ["calibrate_by_folds", "plan_calibration"],
        "evaluation.crossvalidation": ["Scenario", "cross_validate"],
        "training.finetuning": ["check_fit", "settings_from_base", "split_for_base"],
        "evaluation.comparison": ["compare", "read_comparison"],
        "evaluation.validation_report": ["appraisal_table", "appraise"],
        "evaluation.advice": ["advice_text", "advise"],
        "report.figures": [
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
