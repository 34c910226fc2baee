"""Size and shape of elongated structures along their own curve: areas across it, diameters, levels, cohorts."""

from autoseg.measurement.morphometry.cohort import ALIGNMENTS, cohort_band, places_along
from autoseg.measurement.morphometry.curve import SMOOTHING_MM, Curve, smooth_curve
from autoseg.measurement.morphometry.landmarks import (
    Enlargement,
    Landmark,
    describe_enlargement,
    locate_enlargement,
)
from autoseg.measurement.morphometry.measure import (
    MORPHOMETRY_VERSION,
    Morphometry,
    Profile,
    SectionRow,
    measure_morphometry,
    measure_profile,
)
from autoseg.measurement.morphometry.sections import Along
from autoseg.measurement.morphometry.tables import (
    MEASURES,
    STEP_MM,
    arc_table,
    morphometry_levels,
    morphometry_tables,
    read_arc_tables,
    sections_table,
    write_morphometry,
)

__all__ = [
    "ALIGNMENTS",
    "MEASURES",
    "MORPHOMETRY_VERSION",
    "SMOOTHING_MM",
    "STEP_MM",
    "Along",
    "Curve",
    "Enlargement",
    "Landmark",
    "Morphometry",
    "Profile",
    "SectionRow",
    "arc_table",
    "cohort_band",
    "describe_enlargement",
    "locate_enlargement",
    "measure_morphometry",
    "measure_profile",
    "morphometry_levels",
    "morphometry_tables",
    "places_along",
    "read_arc_tables",
    "sections_table",
    "smooth_curve",
    "write_morphometry",
]
