"""All patients of a folder, each a run of its own, into one folder: what is done stays, what failed is told.

A patient is done when the folder of the run is there, whole, with the digests of the images and of all that
areas depend on in its run.json; there is no other list that could disagree with it.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from autoseg.data.codes import hide, is_without_ids, keep_without_ids
from autoseg.data.cohort import FilesOf, PatientPlace, cohort_name, find_patient_places
from autoseg.errors import AutosegError, DataError, OutputError
from autoseg.files.atomic import held, settle
from autoseg.files.file_names import safe_name
from autoseg.measurement.areas import MEASUREMENT_VERSION
from autoseg.model.device.cluster import Desk, Workers, team
from autoseg.model.identity import plain_digest
from autoseg.prediction.run import RunProgress, RunRequest, RunStopped, segment_and_write
from autoseg.report.cohort import FAILED, RUNS, PatientResult, read_result, write_cohort
from autoseg.report.export import FORMAT
from autoseg.report.written_run import read_record
from autoseg.words import counted


@dataclass(frozen=True)
class CohortProgress:
    """How far a cohort is: patient `number` of `count`, from 1, is at `run`; or came to `result`, maybe earlier.

    So many others are `done`. A `note` is of those who work, and then of no patient (0).
    """

    number: int
    count: int
    folder: str
    run: RunProgress | None = None
    result: PatientResult | None = None
    is_earlier: bool = False
    done: int = 0
    note: str = ""

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        part = 1.0 if self.result is not None else 0.0 if self.run is None else self.run.share
        return (self.done + part) / self.count

    def __str__(self) -> str:
        if self.note:
            return self.note
        place = f"Patient {self.number} of {self.count}, {self.folder}"
        return place if self.run is None else f"{place}: {self.run}"


@dataclass(frozen=True)
class Cohort:
    """What came of a cohort: its `folder`, and the `results`, the worst first.

    `segmented` counts the patients of this call, `earlier` those that were done before. `notes` are sentences that
    a reader should know. Where it `is_stopped` some patients have not had their turn.
    """

    folder: Path
    results: tuple[PatientResult, ...]
    segmented: int
    earlier: int
    notes: tuple[str, ...] = ()
    is_stopped: bool = False
    elapsed_s: float = 0.0


OnCohort = Callable[[CohortProgress], bool | None]
# Of what a worker tells of one patient more would only keep the scheduler busy.
TOLD_EVERY_S = 0.2


def segment_cohort(
    request: RunRequest, output: Path, *, on_progress: OnCohort | None = None, workers: Workers | None = None
) -> Cohort:
    """Segment and measure each patient of a folder as a run of its own, and write all areas as one table.

    What was done before is not done again, unless the images, the model or what was typed changed; earlier results
    stay in `runs`, but in no table. Patients who cannot be segmented stop nobody else. Ctrl+C, or a True from
    `on_progress`, ends it between two steps of a run; whatever was done until then is in the tables.

    Parameters
    ----------
    request : RunRequest
        Its `folder` is the cohort, in which `autoseg.data.cohort.find_patient_places` finds the patients; `only`,
        `typed` and `fat` hold for each of them. Its `on_progress` hears of nothing.
    output : Path
        A folder in it, called after the models and the cohort, is made or gone on with.
    on_progress : callable, optional
        Called with a CohortProgress at each step.
    workers : Workers, optional
        Several patients at once, by processes of this computer or those of a cluster; the areas are the same.

    Returns
    -------
    Cohort

    Raises
    ------
    DataError
        If there is no patient.
    OutputError
        If the results would lie among the images, cannot be written, or another program is at the same cohort.
    ClusterError
        If the workers cannot be reached, or are not as this computer; patients who are done are kept.
    """
    started = time.monotonic()
    if workers is not None:  # who may stand elsewhere
        request, output = replace(request, folder=Path(request.folder).absolute()), Path(output).absolute()
    cohort = Path(request.folder)
    places = find_patient_places(cohort)
    folder = cohort_folder(request, output)
    if cohort.resolve() in folder.resolve().parents:
        raise OutputError(
            f"The results would lie in {folder}, inside the folder of the patients, where they would be taken for "
            "images the next time. Choose another folder for them (output= in the "
            "notebook's cell, --output on the command line)."
        )
    with held(folder / RUNS, f"Another program is segmenting the same patients into {folder}."):
        settle(folder / RUNS)
        loop = _Loop(request, folder, on_progress, len(places))
        is_stopped = False
        try:
            if workers is None:
                for number, place in enumerate(places, start=1):
                    loop.take(number, place) or loop.segment(number, place)
            else:
                turns = [_Turn(number, place) for number, place in enumerate(places, start=1)]
                loop.segment_beside([one for one in turns if not loop.take(one.number, one.place)], workers)
        except (RunStopped, KeyboardInterrupt):
            is_stopped = True
        results = [
            loop.results.get(number, PatientResult(place.folder)) for number, place in enumerate(places, start=1)
        ]
        done = {one.run for one in results}
        left = sum(path.name not in done for known in loop.known.values() for path, _ in known)
        notes: tuple[str, ...] = ()
        if left and not is_stopped:
            what = counted(left, "earlier result")
            notes = (f"{what} in {RUNS} of other images, another model or patients who are gone: in no table.",)
        record = {
            "model": request.segmenter.name,
            "model_records": request.segmenter.records(),
            "date": f"{datetime.now():%Y-%m-%d %H:%M}",
            "is_stopped": is_stopped,
        }
        title = f"{cohort_name(cohort)}: {counted(len(places), 'patient folder')}"
        ordered, notes = write_cohort(folder, results, title=title, record=record, notes=notes)
    elapsed = time.monotonic() - started
    return Cohort(folder, tuple(ordered), loop.segmented, loop.earlier, notes, is_stopped, elapsed)


def cohort_folder(request: RunRequest, output: Path) -> Path:
    """Give the folder of a cohort's results, the same each time."""
    return Path(output) / f"{safe_name(request.segmenter.name)}_{safe_name(cohort_name(request.folder))}_patients"


@dataclass(frozen=True)
class _Turn:
    """A patient who waits to be segmented by a worker."""

    number: int
    place: PatientPlace

    def __str__(self) -> str:
        return f"patient {self.number}"


class _Loop:
    """The patients of a cohort; of each that is done a row stays in the memory."""

    def __init__(self, request: RunRequest, folder: Path, on_progress: OnCohort | None, count: int) -> None:
        self.request, self.folder, self.on_progress, self.count = request, folder, on_progress, count
        self.how = _how(request)
        self.is_hidden = is_without_ids(request.folder)
        self.known = _known_runs(folder / RUNS)
        self.results: dict[int, PatientResult] = {}
        self.segmented = self.earlier = 0

    def take(self, number: int, place: PatientPlace) -> bool:
        """Take a patient's result of before, or why there can be none; tell whether there was any."""

        def find() -> PatientResult | None:
            if place.refusal:
                raise DataError(place.refusal)
            run = _find_done(self.known[place.name], self.how, place, Path(self.request.folder))
            return None if run is None else read_result(run, place.folder)

        at = self._at(number, place)
        self._tell(at)
        return self._keep(at, find, is_earlier=True)

    def segment(self, number: int, place: PatientPlace) -> bool:
        """Segment a patient here."""
        at = self._at(number, place)

        def tell(progress: RunProgress) -> bool | None:
            return self.on_progress(replace(at, run=progress)) if self.on_progress is not None else None

        return self._keep(at, partial(_segment, self.request, self.folder, self.how, place, tell))

    def segment_beside(self, turns: Sequence[_Turn], workers: Workers) -> None:
        """Let workers segment patients, several at once."""
        if not turns:
            return
        request = replace(self.request, on_progress=None, on_slices=None)
        shared = _Shared(request, self.folder, self.how, self.is_hidden)

        def note(words: str) -> None:
            self._tell(CohortProgress(0, self.count, "", done=len(self.results), note=words))

        try:
            with team(workers, self.folder, is_coded=self.is_hidden, tell=note) as them:
                for done in them.do(
                    _do,
                    shared,
                    turns,
                    hear=lambda turn, run: self._tell(replace(self._at(turn.number, turn.place), run=run)),
                    again=lambda turn: note(f"Whoever was at {turn} is gone; it begins again."),
                ):
                    self._keep(self._at(done.item.number, done.item.place), done.get)
        finally:
            settle(self.folder / RUNS)  # what a lost worker had begun

    def _at(self, number: int, place: PatientPlace) -> CohortProgress:
        return CohortProgress(number, self.count, place.folder, done=len(self.results))

    def _tell(self, progress: CohortProgress) -> None:
        if self.on_progress is not None and self.on_progress(progress):
            raise RunStopped(f"The patients of {self.request.folder} were stopped. What is done is kept.")

    def _keep(
        self, at: CohortProgress, give: Callable[[], PatientResult | None], *, is_earlier: bool = False
    ) -> bool:
        """Keep what comes of a patient, and tell whether anything did; what fails becomes a row."""
        try:
            result = give()
        except (RunStopped, OutputError):
            raise  # where one patient cannot be written, none can
        except Exception as error:  # whatever is wrong with one patient, the others have their turn
            why = f"{error}" if isinstance(error, AutosegError | OSError) else _unexpected(error)
            result = PatientResult(at.folder, result=FAILED, why=hide(why) if self.is_hidden else why)
        if result is None:
            return False
        is_earlier = is_earlier and result.is_done
        self.earlier += is_earlier
        self.segmented += result.is_done and not is_earlier
        self.results[at.number] = result
        self._tell(replace(at, result=result, is_earlier=is_earlier))
        return True


def _segment(
    request: RunRequest,
    folder: Path,
    how: str,
    place: PatientPlace,
    on_progress: Callable[[RunProgress], bool | None],
) -> PatientResult:
    """Segment one patient of a cohort into its folder."""
    files = FilesOf.find(place, Path(request.folder))
    # Of what is read afterwards: images that change meanwhile are done again the next time.
    about = {"name": place.name, "how": how, "stamp": files.stamp(), "images": files.digest()}
    own = replace(
        request,
        folder=place.path,
        subject_id=place.subject_id,
        name=place.name,
        record=about,
        is_animated=False,
        on_progress=on_progress,
    )
    return read_result(segment_and_write(own, folder / RUNS).folder, place.folder)


# A patient's runs, each with what its run.json says of the images.
_Runs = Sequence[tuple[Path, Mapping[str, str]]]


def _find_done(runs: _Runs, how: str, place: PatientPlace, cohort: Path) -> Path | None:
    """Give the run that still holds."""
    known = [(run, about) for run, about in runs if about.get("how") == how]
    if not known:
        return None
    files = FilesOf.find(place, cohort)
    stamp, digest = files.stamp(), ""
    for run, about in known:
        if about.get("stamp") != stamp:
            digest = digest or files.digest()
            if about.get("images") != digest:
                continue
        return run
    return None


# --- what a worker does


@dataclass(frozen=True)
class _Shared:
    """What a worker gets once for all patients; models are built there once, too."""

    request: RunRequest
    folder: Path
    how: str
    is_hidden: bool


def _do(shared: _Shared, turn: _Turn, desk: Desk) -> PatientResult:
    """Segment a patient on a worker, unless a lost one had just finished it."""
    request, place, told_s = shared.request, turn.place, -math.inf
    if shared.is_hidden:
        keep_without_ids(request.folder)  # where nothing could be written beside the images, nobody else knows

    def tell(progress: RunProgress) -> bool:
        nonlocal told_s
        if time.monotonic() - told_s >= TOLD_EVERY_S:
            told_s = time.monotonic()
            desk.tell(progress)
        return desk.should_stop()

    runs = _known_runs(shared.folder / RUNS, place.name)[place.name]
    run = _find_done(runs, shared.how, place, Path(request.folder))
    if run is not None:
        return read_result(run, place.folder)
    return _segment(request, shared.folder, shared.how, place, tell)


def _how(request: RunRequest) -> str:
    """Give the digest of all that areas depend on beside the images."""
    own = request.segmenter
    typed, fat = sorted(vars(request.typed).items()), sorted(vars(request.fat).items())
    only = None if request.only is None else sorted(request.only)
    versions = (MEASUREMENT_VERSION, FORMAT)
    return plain_digest([own.name, own.records(), own.copies, own.look, repr(typed), repr(fat), only, versions])


def _known_runs(folder: Path, begin: str = "") -> dict[str, list[tuple[Path, dict[str, str]]]]:
    """Give the runs of a cohort's folder by the patient; only those whose names begin so."""
    known = defaultdict[str, list[tuple[Path, dict[str, str]]]](list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.startswith(begin):
            continue
        try:
            about = read_record(path)["details"]["patient"]
            name = about["name"]
        except (AutosegError, KeyError, TypeError):
            continue  # not of a cohort, or damaged: it is made again beside this one
        if isinstance(name, str) and all(
            (path / f"{table}.csv").is_file() for table in ("measurements", "patients")
        ):
            known[name].append((path, about))
    return known


def _unexpected(error: Exception) -> str:
    return (
        f"An error that autoseg does not foresee: {type(error).__name__} {error}. Segment this patient alone to "
        "see where it comes from, and report it."
    )
