"""A series of a patient's folder as one row: its middle slice, and its header in words."""

from __future__ import annotations

import html
from collections.abc import Sequence

from autoseg.data.patients import Candidate
from autoseg.panels.parts.style import notice, picture

# A date must not break.
COLUMNS = "116px 1.3fr .5fr 1.5fr 1.2fr .8fr 84px"
LONG = 14  # a longer name is cut off beside its box
HEADINGS = ("", "Description", "Kind", "Pixels", "Slices", "Plane", "Date")


def describe_candidate(candidate: Candidate) -> str:
    """Give a series as a row of HTML: its middle slice, then its header in words; a refused one tells why."""
    if candidate.refusal:
        return notice(f"{candidate.case_id} cannot be segmented: {candidate.refusal}", "warning", announced=False)
    image = picture(candidate.png, f"Middle slice of {candidate.case_id}") if candidate.png else "no picture"
    size = f"{candidate.rows} × {candidate.columns}"
    if candidate.spacing_mm is not None:
        pixel = f"{size}, {candidate.spacing_mm[0]:.4g} × {candidate.spacing_mm[1]:.4g} mm"
    else:
        pixel = f"{size}, mm unknown"
    moments = f" × {candidate.time_points} times" if candidate.time_points > 1 else ""
    distance = f", every {candidate.slice_spacing_mm:.4g} mm" if candidate.slice_spacing_mm else ""
    cells = (
        html.escape(candidate.description or (candidate.case_id if len(candidate.case_id) > LONG else "–")),
        html.escape(candidate.modality or "–"),
        pixel,
        f"{candidate.slices}{moments}{distance}",
        html.escape(candidate.orientation or "–"),
        html.escape(candidate.date or "–"),
    )
    notes = candidate.doubt if candidate.doubt and candidate.doubt not in candidate.notes else ""
    return lay_row((image, *cells), " ".join(filter(None, [notes, candidate.notes])))


def lay_row(cells: Sequence[str], below: str = "") -> str:
    """Lay cells (HTML) side by side, and words below them."""
    columns = "".join(f'<div style="overflow-wrap:anywhere">{cell}</div>' for cell in cells)
    weight = "400" if cells[0] else "600"
    note = f'<div style="grid-column:2/-1;opacity:.8;font-size:12px">{html.escape(below)}</div>' if below else ""
    return (
        f'<div style="display:grid;grid-template-columns:{COLUMNS};gap:2px 10px;align-items:center;line-height:1.4;'
        f'text-align:left;font-weight:{weight};color:var(--jp-ui-font-color1,inherit)">{columns}{note}</div>'
    )
