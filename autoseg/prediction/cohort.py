"""All patients of a folder, one run after the other, into one folder: what is done stays, what failed is told.

A patient is done when the folder of the run is there, whole, with the digests of the images and of all that
areas depend on in its run.json; there is no other list that could disagree with it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from autoseg.data.codes import hide, is_without_ids
from autoseg.data.cohort import FilesOf, PatientPlace, cohort_name, find_patient_places
from autoseg.errors import AutosegError, DataError, OutputError
from autoseg.files.atomic import held, settle
from autoseg.files.file_names import safe_name
from autoseg.measurement.areas import MEASUREMENT_VERSION
from autoseg.model.identity import plain_digest
from autoseg.prediction.run import RunProgress, RunRequest, RunStopped, segment_and_write
from autoseg.report.cohort import FAILED, RUNS, PatientResult, read_result, write_cohort
from autoseg.report.export import FORMAT
from autoseg.report.written_run import read_record
from autoseg.words import counted


@dataclass(frozen=True)
class CohortProgress:
    """How far a cohort is: patient `number` of `count`, from 1, is at `run`; or came to `result`, maybe earlier."""

    number: int
    count: int
    folder: str
    run: RunProgress | None = None
    result: PatientResult | None = None
    is_earlier: bool = False

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        part = 1.0 if self.result is not None else 0.0 if self.run is None else self.run.share
        return (self.number - 1 + part) / self.count

    def __str__(self) -> str:
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


def segment_cohort(request: RunRequest, output: Path, *, on_progress: OnCohort | None = None) -> Cohort:
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

    Returns
    -------
    Cohort

    Raises
    ------
    DataError
        If there is no patient.
    OutputError
        If the results would lie among the images, cannot be written, or another program is at the same cohort.
    """
    started, cohort = time.monotonic(), Path(request.folder)
    places = find_patient_places(cohort)
    folder = cohort_folder(request, output)
    if cohort.resolve() in folder.resolve().parents:
        raise OutputError(
            f"The results would lie in {folder}, inside the folder of the patients, where they would be taken for "
            "images the next time. Choose another folder for them (--output)."
        )
    with held(folder / RUNS, f"Another program is segmenting the same patients into {folder}."):
        settle(folder / RUNS)
        loop = _Loop(request, folder, on_progress, len(places))
        is_stopped = False
        try:
            for number, place in enumerate(places, start=1):
                loop.do(number, place)
        except (RunStopped, KeyboardInterrupt):
            is_stopped = True
        results = [*loop.results, *(PatientResult(place.folder) for place in places[len(loop.results) :])]
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
        ordered = write_cohort(folder, results, title=title, record=record, notes=notes)
    elapsed = time.monotonic() - started
    return Cohort(folder, tuple(ordered), loop.segmented, loop.earlier, notes, is_stopped, elapsed)


def cohort_folder(request: RunRequest, output: Path) -> Path:
    """Give the folder of a cohort's results, the same each time."""
    return Path(output) / f"{safe_name(request.segmenter.name)}_{safe_name(cohort_name(request.folder))}_patients"


class _Loop:
    """The patients of a cohort one after the other; of each that is done a row stays in the memory."""

    def __init__(self, request: RunRequest, folder: Path, on_progress: OnCohort | None, count: int) -> None:
        self.request, self.folder, self.on_progress, self.count = request, folder, on_progress, count
        self.how = _how(request)
        self.is_hidden = is_without_ids(request.folder)
        self.known = _known_runs(folder / RUNS)
        self.results: list[PatientResult] = []
        self.segmented = self.earlier = 0

    def do(self, number: int, place: PatientPlace) -> None:
        """Take a patient's result of before, or segment; what fails becomes a row."""
        at = CohortProgress(number, self.count, place.folder)
        self._tell(at)
        is_earlier = False
        try:
            if place.refusal:
                raise DataError(place.refusal)
            files = FilesOf.find(place, Path(self.request.folder))
            done = self._find_done(place, files)
            is_earlier = done is not None
            run = done or self._segment(at, place, files)
            result = read_result(run, place.folder)
            self.earlier, self.segmented = self.earlier + is_earlier, self.segmented + (not is_earlier)
        except (RunStopped, OutputError):
            raise  # where one patient cannot be written, none can
        except Exception as error:  # whatever is wrong with one patient, the others have their turn
            why = f"{error}" if isinstance(error, AutosegError | OSError) else _unexpected(error)
            result = PatientResult(place.folder, result=FAILED, why=hide(why) if self.is_hidden else why)
        self.results.append(result)
        self._tell(replace(at, result=result, is_earlier=is_earlier))

    def _tell(self, progress: CohortProgress) -> None:
        if self.on_progress is not None and self.on_progress(progress):
            raise RunStopped(f"The patients of {self.request.folder} were stopped. What is done is kept.")

    def _find_done(self, place: PatientPlace, files: FilesOf) -> Path | None:
        known = [(run, about) for run, about in self.known[place.name] if about.get("how") == self.how]
        if not known:
            return None
        stamp, digest = files.stamp(), ""
        for run, about in known:
            if about.get("stamp") != stamp:
                digest = digest or files.digest()
                if about.get("images") != digest:
                    continue
            return run
        return None

    def _segment(self, at: CohortProgress, place: PatientPlace, files: FilesOf) -> Path:
        def tell(progress: RunProgress) -> bool | None:
            return self.on_progress(replace(at, run=progress)) if self.on_progress is not None else None

        # Of what is read afterwards: images that change meanwhile are done again the next time.
        about = {"name": place.name, "how": self.how, "stamp": files.stamp(), "images": files.digest()}
        own = replace(
            self.request,
            folder=place.path,
            subject_id=place.subject_id,
            name=place.name,
            record=about,
            is_animated=False,
            on_progress=tell,
        )
        run = segment_and_write(own, self.folder / RUNS).folder
        self.known[place.name].append((run, about))
        return run


def _how(request: RunRequest) -> str:
    """Give the digest of all that areas depend on beside the images."""
    own = request.segmenter
    typed, fat = sorted(vars(request.typed).items()), sorted(vars(request.fat).items())
    only = None if request.only is None else sorted(request.only)
    versions = (MEASUREMENT_VERSION, FORMAT)
    return plain_digest([own.name, own.records(), own.copies, own.look, repr(typed), repr(fat), only, versions])


def _known_runs(folder: Path) -> dict[str, list[tuple[Path, dict[str, str]]]]:
    """Give the runs of a cohort's folder by the patient, each with what its run.json says of the images."""
    known = defaultdict[str, list[tuple[Path, dict[str, str]]]](list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
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
