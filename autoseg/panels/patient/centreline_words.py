"""What the centreline's panel says and draws: which curve is used, where it runs, and what lies around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from autoseg.errors import AutosegError
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.morphometry import Profile
from autoseg.model.centreline import Centreline, Point, check_on, place_on, places_along
from autoseg.panels.parts.style import Drawn, heading, notice, picture, text
from autoseg.panels.parts.viewer import mark
from autoseg.prediction.centreline_run import ImageCentreline
from autoseg.report.figures.centreline import show_centrelines

AUTOMATIC, CHOSEN, POINT = "#ffffff", "#ff3fb4", "#ffe100"  # the curves as in the figure; points stand out
NAMES = {"clicked": "clicked", "automatic": "loaded (automatic)", "labels": "loaded (from labels)"}
MOST_CURVES = 4
NOTHING = (
    "There is no automatic centreline, so the model cannot look at this image yet. Click the structure's middle on "
    "two slices or more."
)


def describe_use(one: ImageCentreline, chosen: Centreline | None, points: Sequence[Point]) -> str:
    """Say which curve is used for an image, and what is amiss with it, as HTML."""
    parts = [notice(note, "warning", announced=False) for note in one.notes]
    if chosen is None:
        if len(points) == 1:
            more = "Click one on another slice too" + (
                "; until then the automatic curve is used." if one.automatic is not None else "."
            )
            parts.append(notice(f"One point is no curve. {more}", "warning"))
        elif one.automatic is None:
            parts.append(notice(NOTHING, "warning"))
        else:
            parts.append(text("The automatic centreline is used (white)."))
    elif points:
        many = f"{len(points)} points" if len(points) > 1 else "a loaded curve; one more point begins a new one"
        parts.append(
            notice(f"The clicked curve is used (pink): {many}. Beyond its ends it goes on straight.", "done")
        )
    else:
        parts.append(notice("The curve that was loaded is used (pink).", "done"))
    line = chosen or one.automatic
    amiss = ""
    if line is not None:
        try:
            amiss = check_on(line, one.view)
        except AutosegError as error:
            amiss = str(error)
    return "".join(parts) + (notice(amiss, "warning") if amiss else "")


def marks_of(
    one: ImageCentreline,
    chosen: Centreline | None,
    points: Sequence[Point],
    *,
    crop_mm: tuple[float, float],
    image: int,
) -> list[dict[str, Any]]:
    """Give the marks on the slices: rings where the curves run, boxes of what is seen, crosses at the points.

    `crop_mm` is from right to left and from front to back, `image` the image's number in the viewer.
    """
    _, row_mm, column_mm = one.view.spacing_mm
    size = (crop_mm[1] / row_mm, crop_mm[0] / column_mm)
    marks = []
    for line, colour in ((one.automatic, AUTOMATIC), (chosen, CHOSEN)):
        for place in places_along(line, one.view) if line is not None else []:
            marks.append(mark(place, image=image, colour=colour))
            if line is (chosen or one.automatic):
                marks.append(mark(place, image=image, colour=colour, size=size))
    places = [place_on(one.view, point) for point in points]
    return marks + [mark(place, image=image, text=str(n), colour=POINT) for n, place in enumerate(places, start=1)]


def draw_curves(one: ImageCentreline, chosen: Centreline | None, crop_mm: tuple[float, float]) -> str:
    """Draw the curves from the side and from the front as HTML; "" without a curve, a sentence where it fails."""
    curves = {} if one.automatic is None else {"automatic": one.automatic}
    if chosen is not None:
        # The second colour is the chosen curve's, also where there is no other.
        curves[NAMES[chosen.source]] = chosen
    if not curves:
        return ""
    try:
        figure = show_centrelines(one.image, curves, crop_mm=crop_mm)
    except AutosegError as error:
        return notice(str(error), "warning")
    return picture(cast(Drawn, figure), "The centreline over the image, from the side and from the front")


def draw_course(image: Image, label_map: LabelMap, profiles: Sequence[Profile]) -> str:
    """Draw the curves along which structures were measured over their image, as HTML.

    Only curves that rise from the feet to the head are drawn, four at most; "" if there is none.
    """
    curves: dict[str, Centreline] = {}
    for profile in profiles:
        points = profile.curve.points_mm
        if len(curves) < MOST_CURVES and bool((np.diff(points[:, 2]) > 0).all()):
            curves[f"{profile.rows[0].name}, its curve"] = Centreline(points, "labels")
    if not curves:
        return ""
    try:
        figure = show_centrelines(image, curves, label_map)
    except AutosegError as error:
        return notice(str(error), "warning")
    words = "Look whether the curve runs through the middle of the structure: sections are measured across it."
    drawn = picture(cast(Drawn, figure), "The curve over the image, from the side and from the front")
    return heading("The curve over the image") + text(words) + drawn
