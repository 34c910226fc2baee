"""Find the cases of a folder, pair images with labels, and read them: every kind of file in one way."""

from autoseg.data.cases.annotated import declare_absent, declare_drawn, declare_missing, declare_unknown
from autoseg.data.cases.case import Case, CaseFolder, Reading, pairs_table
from autoseg.data.cases.find import find_cases, find_images, find_own_cases, find_own_images
from autoseg.data.cases.naming import (
    Naming,
    build_table,
    keep_names,
    leave_out_structures,
    list_namings,
    name_structures,
    new_naming,
)
from autoseg.data.cases.pseudonyms import Pseudonyms
from autoseg.data.cases.read import read_case, read_case_image, read_case_labels, read_rater_labels
