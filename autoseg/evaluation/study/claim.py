"""The items of CLAIM 2024, in words of our own, and which of them a study's report fills.

Checklist for Artificial Intelligence in Medical Imaging, update of 2024: Tejani et al., Radiology: Artificial
Intelligence 2024; 6(4): e240300.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = (
    "Checklist for Artificial Intelligence in Medical Imaging, update of 2024 (Tejani et al., Radiology: "
    "Artificial Intelligence 2024; 6(4): e240300). The items are in our own words: look at the original before you "
    "submit."
)
ITEMS: Mapping[int, str] = {
    1: "Title or abstract: that it is a study of artificial intelligence, and of which kind",
    2: "Abstract: design, methods, results, conclusions",
    3: "Background, and what the method is meant for",
    4: "Aims and hypotheses",
    5: "Prospective or retrospective",
    6: "What kind of study it is",
    7: "Where the data are from",
    8: "Whom the study includes and excludes",
    9: "How images are prepared",
    10: "Which part of the data was taken, if not all",
    11: "How identities were removed",
    12: "What was done where data are missing",
    13: "How the images were acquired",
    14: "What the reference standard is",
    15: "Why this reference standard",
    16: "Who drew it, and with which experience",
    17: "How the test set was drawn",
    18: "How much readers differ",
    19: "How data were shared out for training and testing",
    20: "At which level these parts are apart",
    21: "How many test patients were meant, and why",
    22: "The model in detail",
    23: "Software and its versions",
    24: "From what the parameters began",
    25: "How it was trained",
    26: "How the final model was chosen",
    27: "Several models together",
    28: "Measures of how good it is",
    29: "Uncertainty and significance",
    30: "Robustness",
    31: "Explanations of what the model does",
    32: "Evaluation on internal data",
    33: "Evaluation on external data",
    34: "Registration of the trial",
    35: "How many patients were included and excluded",
    36: "Who the patients are, by part of the data",
    37: "Results with their uncertainty",
    38: "Diagnostic performance with its precision",
    39: "What failed",
    40: "Limitations",
    41: "What it means for practice",
    42: "Where the protocol and further details are",
    43: "Whether software, model and data can be had",
    44: "Funding, and the part of who funded it",
}
