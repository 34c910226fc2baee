"""How often each structure was drawn: pixels and cases, from the facts that the checks gather anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoseg.data.checks.facts import Facts
from autoseg.image.structures import Structure


@dataclass(frozen=True)
class StructureCount:
    """How much of a structure, or of a value that has no name, is in the labels.

    Parameters
    ----------
    label : int
    name : str
        Empty for a value that no structure has.
    pixels : int
        In all cases together, with those of the structures inside it.
    cases : int
        Cases that show it.
    drawn_cases : int
        Cases on which it counts as drawn, whether they show it or not.
    """

    label: int
    name: str
    pixels: int
    cases: int
    drawn_cases: int


def count_structures(facts: Sequence[Facts], structures: Sequence[Structure]) -> tuple[StructureCount, ...]:
    """Count pixels and cases of each structure, and of each value without a name.

    Parameters
    ----------
    facts : sequence of Facts
        Of the cases whose labels have the shape of their image; others cannot be counted.
    structures : sequence of Structure

    Returns
    -------
    tuple of StructureCount
        In the order of the structures, then the values without a name in rising order.
    """
    counts = []
    for structure in structures:
        wanted = {structure.label, *structure.includes}
        pixels = [sum(count for value, count in fact.pixels.items() if value in wanted) for fact in facts]
        drawn = sum(fact.origin.is_drawn(structure.label) for fact in facts)
        shown = sum(count > 0 for count in pixels)
        counts.append(StructureCount(structure.label, structure.name, sum(pixels), shown, drawn))
    known = {structure.label for structure in structures}
    for value in sorted({value for fact in facts for value in fact.values} - known):
        own = [fact.pixels[value] for fact in facts if value in fact.values]
        counts.append(StructureCount(value, "", sum(own), len(own), len(facts)))
    return tuple(counts)
