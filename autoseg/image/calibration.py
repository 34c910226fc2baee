"""Millimetres for an image: from its header, or from a field of view that the user types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoseg.errors import GeometryError
from autoseg.image.geometry import affine_from_spacing, check_affine
from autoseg.image.image import Image, SpacingSource

# Above this share of difference between header and typed spacing the user has to choose.
TOLERANCE = 0.005


FieldOfView = float | Sequence[float]


@dataclass(frozen=True)
class TypedCalibration:
    """What a person typed of an image's millimetres, and which to believe; see `calibrate`."""

    field_of_view_mm: FieldOfView | Mapping[tuple[int, int], FieldOfView] | None = None
    matrix_size: int | Sequence[int] | None = None
    prefer: str | None = None
    pixel_spacing_mm: float | Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.prefer not in (None, "header", "typed"):
            raise GeometryError(f'prefer is {self.prefer!r}; use "header" or "typed".')
        if self.field_of_view_mm is not None and self.pixel_spacing_mm is not None:
            raise GeometryError("Type the field of view or the size of a pixel, not both.")
        if self.pixel_spacing_mm is not None:
            positive_pair(self.pixel_spacing_mm, "size of a pixel (mm)")

    @property
    def is_typed(self) -> bool:
        """Whether any size in millimetres was typed."""
        return self.field_of_view_mm is not None or self.pixel_spacing_mm is not None

    def spacing_for(self, image_shape: Sequence[int]) -> SpacingChoice | None:
        """Give the pixel spacing of an image with these (…, rows, columns); None where nothing was typed for it."""
        if self.pixel_spacing_mm is not None:
            return SpacingChoice(positive_pair(self.pixel_spacing_mm, "size of a pixel (mm)"), "typed")
        rows, columns = (int(n) for n in tuple(image_shape)[-2:])
        view = self.field_of_view_mm
        if isinstance(view, Mapping):
            view = view.get((rows, columns))
        if view is None:
            return None
        return pixel_spacing_from_field_of_view(view, (rows, columns), matrix_size=self.matrix_size)


@dataclass(frozen=True)
class SpacingChoice:
    """The pixel spacing to use: between rows, between columns in mm; whence; and what to tell the user."""

    spacing_mm: tuple[float, float]
    source: SpacingSource
    note: str = ""


def pixel_spacing_from_field_of_view(
    field_of_view_mm: float | Sequence[float],
    image_shape: Sequence[int],
    *,
    matrix_size: int | Sequence[int] | None = None,
) -> SpacingChoice:
    """Divide the field of view by the rows and columns of the image as it is.

    The field of view is what the whole image spans in mm: along a column (rows × their distance) first, along a row
    second; one number serves only where the image has as many rows as columns, else it would squeeze the pixels.
    The matrix size in a protocol is that of the acquisition; scanners interpolate to a finer image. Only the
    image's own rows and columns give the size of its pixels, so a typed matrix is compared and never used.

    Examples
    --------
    >>> pixel_spacing_from_field_of_view(240, (256, 256)).spacing_mm
    (0.9375, 0.9375)
    """
    rows, columns = (int(n) for n in tuple(image_shape)[-2:])
    tall, wide = positive_pair(field_of_view_mm, "field of view (mm)")
    if isinstance(field_of_view_mm, (int, float)) and rows != columns:
        raise GeometryError(
            f"The field of view is one number ({field_of_view_mm:g} mm) but the image has {rows} rows and "
            f"{columns} columns. Type two numbers in mm: what it spans from top to bottom, then from side to side."
        )
    spacing = (tall / rows, wide / columns)
    if matrix_size is None:
        return SpacingChoice(spacing, "typed")
    matrix = positive_pair(matrix_size, "matrix size")
    if matrix == (rows, columns):
        return SpacingChoice(spacing, "typed")
    effect = area_effect_percent((tall / matrix[0], wide / matrix[1]), spacing)
    note = (
        f"The typed matrix {matrix[0]:g} × {matrix[1]:g} is the acquisition's; the image was reconstructed "
        f"to {rows} × {columns} pixels. Its pixel is therefore {_mm(spacing)} (field of view ÷ {rows} × "
        f"{columns}). "
        f"With the typed matrix every area would be {_more_or_less(effect)}. The typed matrix is not used."
    )
    return SpacingChoice(spacing, "typed", note)


def check_typed_spacing(header_mm: Sequence[float], typed_mm: Sequence[float], *, name: str = "") -> str:
    """Tell how the typed pixel spacing differs from the header's; "" if by no more than 0.5 %.

    Examples
    --------
    >>> check_typed_spacing((0.5, 0.5), (0.501, 0.501))
    ''
    """
    if all(abs(typed / header - 1) <= TOLERANCE for header, typed in zip(header_mm, typed_mm, strict=True)):
        return ""
    effect = area_effect_percent(typed_mm, header_mm)
    return (
        f"{name + ': the' if name else 'The'} header says {_mm(header_mm)} for a pixel, what was typed gives "
        f"{_mm(typed_mm)}. With the typed one every area would be {_more_or_less(effect)}."
    )


def calibrate(
    image: Image,
    *,
    field_of_view_mm: FieldOfView | Mapping[tuple[int, int], FieldOfView] | None = None,
    matrix_size: int | Sequence[int] | None = None,
    prefer: str | None = None,
    slice_spacing_mm: float | None = None,
    pixel_spacing_mm: float | Sequence[float] | None = None,
) -> Image:
    """Give the image with the millimetres in force: the header's, or typed ones where it has none.

    Parameters
    ----------
    image : Image
        With or without an affine; without typed millimetres it is returned as it is.
    field_of_view_mm, matrix_size
        As in `pixel_spacing_from_field_of_view`; or a field of view for each (rows, columns) that images may have.
    prefer : {"header", "typed"}, optional
        Which one to believe where the two differ by more than 0.5 %.
    slice_spacing_mm : float, optional
        Distance between slices, used only where the header has none.
    pixel_spacing_mm : float or (2,) sequence of float, optional
        In place of a field of view: the size of a pixel, between rows and between columns.

    Returns
    -------
    Image
        `Source.spacing_source` tells "header" or "typed". An image that had no affine at all is taken as
        axial slices; its slice step is a placeholder of 1 mm unless the distance is typed.

    Raises
    ------
    GeometryError
        If header and typed spacing differ and `prefer` is not given; the message states both, the effect on
        areas in percent and the remedy. Also if `prefer` is another word or a number is not above 0.
    """
    given = TypedCalibration(field_of_view_mm, matrix_size, prefer, pixel_spacing_mm)
    image = _with_slice_spacing(image, slice_spacing_mm)
    typed = given.spacing_for(image.shape)
    if typed is None:
        return image
    if image.affine is None:
        affine = affine_from_spacing((slice_spacing_mm or 1.0, *typed.spacing_mm))
        slices: SpacingSource = "none" if slice_spacing_mm is None else "typed"
        source = replace(image.source, spacing_source="typed", slice_spacing_source=slices, is_placed=False)
        return replace(image, affine=affine, source=source)
    header_mm = image.spacing_mm[1:]
    difference = check_typed_spacing(header_mm, typed.spacing_mm, name=image.source.name)
    if difference and prefer is None:
        advice = "Choose which to use: prefer header, or prefer typed."
        raise GeometryError(" ".join(filter(None, [difference, typed.note, advice])))
    # Where the two agree the header's is kept: it has more digits than what one types.
    return _with_pixel_spacing(image, typed.spacing_mm) if difference and prefer == "typed" else image


def area_effect_percent(spacing_mm: Sequence[float], instead_of_mm: Sequence[float]) -> float:
    """Tell by how many percent areas grow if one (row, column) spacing is used instead of another.

    Examples
    --------
    The published workbench divided a field of view of 240 mm by 224 where the image had 256 pixels:

    >>> round(area_effect_percent((240 / 224, 240 / 224), (240 / 256, 240 / 256)), 1)
    30.6
    """
    return 100.0 * (spacing_mm[0] * spacing_mm[1] / (instead_of_mm[0] * instead_of_mm[1]) - 1.0)


def _with_pixel_spacing(image: Image, spacing_mm: Sequence[float]) -> Image:
    """Lengthen the row and column steps; the directions and the first pixel's centre stay."""
    matrix = image.calibrated_affine.copy()
    matrix[:3, 1] *= spacing_mm[0] / image.spacing_mm[1]
    matrix[:3, 2] *= spacing_mm[1] / image.spacing_mm[2]
    return replace(image, affine=check_affine(matrix), source=replace(image.source, spacing_source="typed"))


def _with_slice_spacing(image: Image, slice_spacing_mm: float | None) -> Image:
    """Put a typed distance in place of a placeholder."""
    if slice_spacing_mm is None:
        return image
    if not 0 < slice_spacing_mm < float("inf"):
        raise GeometryError(f"The slice spacing is {slice_spacing_mm} mm; type a distance above 0.")
    if image.affine is None or image.source.slice_spacing_source != "none":
        return image
    matrix = image.affine.copy()
    matrix[:3, 0] *= slice_spacing_mm / image.spacing_mm[0]
    source = replace(image.source, slice_spacing_source="typed")
    return replace(image, affine=check_affine(matrix), source=source)


def positive_pair(value: float | Sequence[float], what: str) -> tuple[float, float]:
    """Give two numbers above 0, one number twice; GeometryError with `what` they are where they are not."""
    numbers = (value, value) if isinstance(value, (int, float)) else tuple(float(n) for n in value)
    if len(numbers) != 2 or not all(0 < n < float("inf") for n in numbers):
        raise GeometryError(f"The {what} is {value}; type one number above 0, or two: rows, columns.")
    return float(numbers[0]), float(numbers[1])


def _mm(spacing_mm: Sequence[float]) -> str:
    return f"{spacing_mm[0]:.4g} × {spacing_mm[1]:.4g} mm"


def _more_or_less(percent: float) -> str:
    return f"{abs(percent):.1f} % {'larger' if percent > 0 else 'smaller'}"
