"""Pair NIfTI files and pictures with their label files by name: suffixes, folders, BIDS derivatives."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.data.pairing.layout import (
    TABLES_AND_TEXTS,
    FilePair,
    Pairing,
    Unlabelled,
    leave_out,
    pair,
    visible_files,
)
from autoseg.data.pairing.names import (
    LEVELS,
    SLICE_NUMBER,
    Named,
    beginnings,
    is_label,
    read_name,
    site_of,
    subjects_by_name,
    telling_words,
)
from autoseg.data.pairing.stacks import Stack, Stacks, find_stacks, put_together
from autoseg.errors import DataError, NoLabelsError
from autoseg.files.nnunet import read_dataset_json
from autoseg.files.sources import (
    READABLE,
    VOLUME_ENDINGS,
    ImageFile,
    LabelFile,
    SkippedFile,
    ending,
    name_without_ending,
)
from autoseg.image.structures import plain_name
from autoseg.words import counted, in_words, natural

# A bare r needs a number: _rv, _ra and _roi are structures.
RATER = re.compile(
    r"(?:^|[-_])(r[-_]?\d{1,2}|(?:rater|reader|observer|expert)(?:[-_][A-Za-z0-9]{1,3}|\d{1,3}))$", re.IGNORECASE
)
CHANNEL_NUMBER = re.compile(r"_(\d{4})$")
IGNORED = ("readme", "license", "licence", "dataset_description", "participants")
Place = tuple[tuple[str, ...], str]
WHERE = (
    "Put the images into a folder 'images' and their labels, with the same names, into 'labels'; or give the label "
    "files the image's name and an addition such as _mask or _seg. A label file whose image you do not have: move "
    "it out of this folder."
)


def pair_by_name(
    folder: Path,
    files: Sequence[Path],
    *,
    unlabelled: Unlabelled,
    channels: Sequence[str] = (),
    tokens: Collection[str] = (),
    stacks: bool = True,
) -> Pairing:
    """Pair images and labels, one file a slice or a volume, wherever they lie below the folder.

    A label file lies in a folder called labels, masks, segmentations or derivatives, or its name holds such a word;
    it belongs to the image whose name its own begins with, in the corresponding folder; the rest of its name tells
    structure and rater (`t2s_gmseg-manual`, `site1-sc01-mask-r2`). Where no name fits, the only image of its
    folder is taken, or the only image that shares all other words of the name. `channels` are ends of names that
    tell the contrasts of one case apart (`T1w`, `T2w`); with `tokens`, files whose names add something else are
    left alone. Numbered pictures of one person become one pair, where `stacks` are wanted.
    """
    readable, levels, skipped = _sort_out(files)
    images = [read_name(path, folder) for path in readable if not is_label(path, folder)]
    labels = [read_name(path, folder, of_label=True) for path in readable if is_label(path, folder)]
    if not images or not labels:
        what = "no image file" if not images else "no label file"
        raise (NoLabelsError if images else DataError)(
            f"{folder} holds {what} ({counted(len(readable), 'NIfTI or picture file')} in all). {WHERE}"
        )
    numbered_labels = any(CHANNEL_NUMBER.search(label.key) for label in labels)
    described = read_dataset_json(folder).channels
    grouped, names = _group_channels(images, tuple(channels), described, numbered_labels=numbered_labels)
    belongs = _Belonging([group[0] for group in grouped])
    found: dict[Path, list[tuple[LabelFile, str]]] = defaultdict(list)
    known = set(map(plain_name, tokens))
    for label in labels:
        try:
            image, rest, rule = belongs.of(label)
        except _NoImageError as error:
            if unlabelled == "refuse":
                raise
            skipped.append(SkippedFile(label.path, str(error)))
            continue
        file = _label_file(label.path, rest)
        if tokens and plain_name(file.token) not in known:
            skipped.append(SkippedFile(label.path, f"structures.csv does not name {file.token!r}"))
        else:
            found[image.path].append((file, rule))
    lonely = [group for group in grouped if group[0].path not in found]
    for_tests = [group[0].path for group in lonely if group[0].is_test_image]
    skipped += [SkippedFile(path, "a test image (imagesTs), which has no labels") for path in for_tests]
    lonely = [group for group in lonely if group[0].path not in for_tests]
    kept = [group for group in grouped if group[0].path not in for_tests]
    together = find_stacks(kept, _persons(kept), folder, needed=found) if stacks else Stacks()
    skipped += leave_out(
        {group[0].path: group[0].path.relative_to(folder).as_posix() for group in lonely},
        unlabelled,
        "a label file",
        folder=folder,
        remedy="Add the label files",
    )
    labelled = [group for group in grouped if group[0].path in found]
    level_of = _level_files(levels, folder)
    built = _build_pairs(labelled, found, level_of)
    pairs = _mark_binary(built, named=bool(tokens))
    _check_single(pairs)
    pictures = {one.images[0].path: one for one in pairs}
    if together.stacks:
        pairs = _put_together(together.stacks, labelled, pictures, level_of)
    stacked = frozenset(pictures[path].case_id for path in together.paths if path in pictures)
    ordered = tuple(sorted(pairs, key=lambda pair: natural(pair.case_id)))
    return Pairing(ordered, names, tuple(skipped), together.notes, stacked)


def _build_pairs(
    grouped: Sequence[Sequence[Named]],
    found: Mapping[Path, Sequence[tuple[LabelFile, str]]],
    level_of: Mapping[Place, Path],
) -> list[FilePair]:
    """Give a pair for each image that has labels, with its subject, site and level file."""
    case_names, places = _case_names([group[0] for group in grouped]), _places(grouped)
    subjects, subject_rule = subjects_by_name(list(places.values()))
    pairs = []
    for group in grouped:
        first = group[0]
        pairs.append(
            pair(
                case_names[first.path],
                subjects[places[first.path]],
                [ImageFile(image.path) for image in group],
                found[first.path],
                subject_rule,
                site=site_of(places[first.path]),
                levels_path=level_of.get((first.where, first.key)),
            )
        )
    return pairs


def _level_files(levels: Sequence[Path], folder: Path) -> dict[Place, Path]:
    return {(named.where, named.key): named.path for named in (read_name(path, folder) for path in levels)}


def _places(groups: Sequence[Sequence[Named]]) -> dict[Path, str]:
    return {group[0].path: "/".join((*group[0].where, group[0].key)).strip("/") for group in groups}


def _persons(groups: Sequence[Sequence[Named]]) -> dict[Path, str]:
    """Tell whose each image is by its place, of images with and without labels."""
    places = _places(groups)
    persons, _ = subjects_by_name(list(places.values()))
    return {path: persons[place] for path, place in places.items()}


def _put_together(
    stacks: Sequence[Stack],
    groups: Sequence[Sequence[Named]],
    pictures: Mapping[Path, FilePair],
    level_of: Mapping[Place, Path],
) -> list[FilePair]:
    """Give stacks, and images that are in none, as pairs; `pictures` are pairs of single images by their paths."""
    within = {group[0].path for stack in stacks for group in stack.slices}
    alone = [group[0] for group in groups if group[0].path not in within]
    names = _case_names([*(stack.name for stack in stacks), *alone])
    whole = [
        put_together(stack, names[stack.name.path], pictures, level_of.get((stack.name.where, stack.name.key)))
        for stack in stacks
    ]
    return [*whole, *(replace(pictures[one.path], case_id=names[one.path]) for one in alone)]


@dataclass(frozen=True)
class FoundImage:
    """An image without labels: its channels' files, its levels, and what its first `picture` alone is called."""

    name: str
    files: tuple[ImageFile, ...]
    levels_path: Path | None
    picture: str


def find_images_by_name(
    folder: Path,
    files: Sequence[Path],
    *,
    channels: Sequence[str] = (),
    also_labels: bool = False,
    stacks: bool = False,
) -> tuple[list[FoundImage], tuple[str, ...]]:
    """Give the images below a folder, and the names of their channels.

    What looks like a label by its place or name is none, unless `also_labels` are wanted. Where `stacks` are,
    numbered pictures of one person are one image, and so are all of a folder that have one name but for the number.
    """
    readable, levels, _ = _sort_out(files)
    level_of = _level_files(levels, folder)
    images = [read_name(path, folder) for path in readable if also_labels or not is_label(path, folder)]
    wanted = tuple(channels) if len(channels) > 1 else ()
    described = read_dataset_json(folder).channels or read_dataset_json(folder.parent).channels
    grouped, names = _group_channels(images, wanted, described, numbered_labels=True)
    own = _case_names([group[0] for group in grouped])
    together = find_stacks(grouped, _persons_by_name(grouped, own), folder) if stacks else Stacks()
    alone = [group for group in grouped if group[0].path not in together.paths]
    case_names = _case_names([*(stack.name for stack in together.stacks), *(group[0] for group in alone)])
    every = [(stack.name, stack.images) for stack in together.stacks]
    every += [(group[0], tuple(ImageFile(image.path) for image in group)) for group in alone]
    found = [
        FoundImage(case_names[one.path], shown, level_of.get((one.where, one.key)), own[one.path])
        for one, shown in every
    ]
    return sorted(found, key=lambda one: natural(one.name)), names if len(names) > 1 else ()


def _persons_by_name(groups: Sequence[Sequence[Named]], names: Mapping[Path, str]) -> Mapping[Path, str]:
    """Tell whose images these are; all of one name but for the number, in one folder, are one person's."""
    if len({(group[0].path.parent, SLICE_NUMBER.sub("", group[0].key)) for group in groups}) == 1:
        return dict.fromkeys(names, "")
    persons, _ = subjects_by_name(list(names.values()))
    return {path: persons[name] for path, name in names.items()}


def find_level_files(folder: Path) -> dict[str, Path]:
    """Give a folder's level files by the name in front of "-levels"; "" is that of a plain levels.txt."""
    found = {}
    for path in visible_files(folder) if folder.is_dir() else ():
        name = re.fullmatch(r"(?:(.*)[-_.])?levels?", path.stem, re.IGNORECASE)
        if path.suffix.lower() == ".txt" and name is not None:
            found[name[1] or ""] = path
    return found


def _sort_out(files: Sequence[Path]) -> tuple[list[Path], list[Path], list[SkippedFile]]:
    readable, levels, skipped = [], [], []
    for path in files:
        if ending(path) in READABLE:
            readable.append(path)
        elif path.suffix.lower() == ".txt" and LEVELS.search(path.stem):
            levels.append(path)
        elif not path.stem.lower().startswith(IGNORED) and path.suffix.lower() not in TABLES_AND_TEXTS:
            skipped.append(SkippedFile(path, "neither NIfTI nor a picture"))
    return readable, levels, skipped


def _group_channels(
    images: Sequence[Named], channels: tuple[str, ...], described: tuple[str, ...], *, numbered_labels: bool
) -> tuple[list[list[Named]], tuple[str, ...]]:
    """Give the images of each case, one a channel, and the channels' names; `described` are of 0000 and on."""
    numbers = [match[1] for image in images if (match := CHANNEL_NUMBER.search(image.key))]
    numbered = tuple(sorted(set(numbers)))
    # nnU-Net's channels: counted from 0000, and the labels have no such number.
    is_numbered = len(numbers) == len(images) and "0000" in numbers
    volumes = all(ending(image.path) in VOLUME_ENDINGS for image in images)
    if is_numbered and len(numbered) == 1 and (volumes or not numbered_labels):
        return [[replace(image, key=CHANNEL_NUMBER.sub("", image.key))] for image in images], channels or ("image",)
    named = channels
    if not channels and is_numbered and not numbered_labels:
        channels = numbered
        named = described if len(described) == len(channels) else channels
    elif (
        is_numbered
        and len(numbered) == len(channels) > 1
        and (described or volumes)
        and not _any_ends_with(images, channels)
    ):
        # The channels of a model or a person by name, and their files by number.
        order = described if set(described) == set(channels) else channels
        channels = tuple(numbered[order.index(channel)] for channel in channels)
    if not channels:
        return [[image] for image in images], ("image",)
    if not _any_ends_with(images, channels):
        return [[image] for image in images], channels  # the names of the channels inside each picture
    cases: dict[tuple[str, tuple[str, ...], str], dict[str, Named]] = defaultdict(dict)
    for image in images:
        for channel in channels:
            if re.search(rf"(?:^|[-_.]){re.escape(channel)}$", image.key):
                key = image.key[: -len(channel)].rstrip("-_.")
                cases[image.part, image.where, key][channel] = replace(image, key=key)
    incomplete = [
        f"{'/'.join((*where, key))}: {', '.join(sorted(have))}"
        for (_, where, key), have in cases.items()
        if len(have) < len(channels)
    ]
    if incomplete or not cases:
        raise DataError(
            f"{in_words(incomplete, 'case')} without all of the channels {', '.join(channels)}. Add the missing "
            "files, or name only the contrasts that every case has."
        )
    return [[have[channel] for channel in channels] for have in cases.values()], named


def _any_ends_with(images: Sequence[Named], channels: Sequence[str]) -> bool:
    return any(re.search(rf"(?:^|[-_.]){re.escape(c)}$", image.key) for image in images for c in channels)


class _NoImageError(DataError):
    """A label file belongs to no image."""


class _Belonging:
    """Answers which image a label belongs to."""

    def __init__(self, images: Sequence[Named]) -> None:
        self.by_place: dict[tuple[str, tuple[str, ...], str], Named] = {}
        self.by_key: dict[str, list[Named]] = defaultdict(list)
        self.by_folder: dict[tuple[str, ...], list[Named]] = defaultdict(list)
        self.by_words: dict[frozenset[str], list[Named]] = defaultdict(list)
        for image in images:
            # The name as it is, too: t2_img.nii may have the label t2_img_seg.nii.
            for key in {image.key, name_without_ending(image.path)}:
                self.by_place[image.part, image.where, key] = image
                self.by_key[key].append(image)
            self.by_folder[image.where].append(image)
            self.by_words[telling_words(image.key)].append(image)

    def of(self, label: Named) -> tuple[Named, str, str]:
        """Give the image, what the label's name adds to the image's, and the rule that matched."""
        for key in beginnings(label.key):
            image = self.by_place.get((label.part, label.where, key))
            elsewhere = self.by_key.get(key, [])
            if image is None and len(elsewhere) == 1:
                image = elsewhere[0]
            if image is not None:
                rest = label.key[len(key) :].strip("-_.")
                rule = f"same name with the addition {label.key[len(key) :]!r}" if rest else "same name"
                return image, rest, rule
            if len(elsewhere) > 1 and key == label.key:
                places = [image.path.as_posix() for image in elsewhere]
                raise DataError(
                    f"The label file {label.path} could belong to {' or '.join(places[:3])}. Put it into a folder "
                    "of the same name as its image's."
                )
        alike = self.by_words.get(telling_words(label.key), [])
        if len(alike) == 1:
            return alike[0], "", "the same words in the name"
        inside = self.by_folder.get(label.where, [])
        # In the folder itself, and not a case's, another name is more likely a slip than a structure.
        if len(inside) == 1 and (label.where or not telling_words(label.key)):
            return inside[0], label.key, "the only image of its folder"
        raise _NoImageError(
            f"The label file {label.path} belongs to no image: none has a name that its own begins with. {WHERE}"
        )


def _label_file(path: Path, rest: str) -> LabelFile:
    rater = RATER.search(rest)
    token = rest[: rater.start()].strip("-_.") if rater else rest
    return LabelFile(path, token=token, rater=rater[1].lower() if rater else "")


def _is_generic(token: str) -> bool:
    return not telling_words(token)


def _mark_binary(pairs: Sequence[FilePair], *, named: bool) -> list[FilePair]:
    """Where a case has files of several tokens, each is a structure; otherwise values tell the structures."""
    tokens = {file.token for pair in pairs for file in pair.labels if not _is_generic(file.token)}
    if not named and len(tokens) < 2 and all(len({file.token for file in pair.labels}) < 2 for pair in pairs):
        return [replace(p, labels=tuple(replace(file, token="") for file in p.labels)) for p in pairs]
    return [replace(p, labels=tuple(replace(file, binary=True) for file in p.labels)) for p in pairs]


def _check_single(pairs: Sequence[FilePair]) -> None:
    """Refuse two label files that say the same of one image."""
    for one in pairs:
        seen: dict[tuple[str, str], LabelFile] = {}
        for file in one.labels:
            # "a_mask" and "a_seg" are two words for one thing.
            token = "" if all(_is_generic(f.token) for f in one.labels) else file.token
            other = seen.setdefault((token, file.rater), file)
            if other is not file:
                raise DataError(
                    f"Both {other.path} and {file.path} would be the labels of {one.images[0].path}. Keep one of "
                    "them, or name the raters (-r1, -r2)."
                )


def _case_names(images: Sequence[Named]) -> dict[Path, str]:
    """Name each case by its file, with the folders in front where that is not unique."""
    short = Counter(image.key for image in images)
    names = {}
    for image in images:
        unique: Collection[str] = (
            (image.key,) if image.key and short[image.key] == 1 else (*image.where, image.part, image.key)
        )
        names[image.path] = "_".join(part for part in unique if part) or name_without_ending(image.path)
    return names
