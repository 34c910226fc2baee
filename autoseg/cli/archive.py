"""Commands that set up connections to a PACS, get series from it and send files there."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from autoseg.files.pacs.asked import FoundSeries
    from autoseg.files.pacs.connection import Connection
    from autoseg.files.pacs.transfer import Sending, TransferProgress

MOST_SHOWN = 10


def add_archive_commands(
    command: Callable[[str, Callable[[argparse.Namespace], None], str], argparse.ArgumentParser],
) -> None:
    """Add `pacs`, `fetch` and `send`."""
    setup = command(
        "pacs",
        pacs,
        "Show the connections to archives (PACS) that were set up, or set one up, try it or remove it. Passwords "
        "and "
        "tokens are asked for and lie in the system's keyring only.",
    )
    setup.add_argument("name", nargs="?", default="", help="what the connection is called here")
    setup.add_argument("--url", help="of DICOMweb, such as https://pacs.hospital.org/dicom-web")
    setup.add_argument("--host", help="or, for DICOM's own protocol, the computer of the PACS")
    setup.add_argument("--port", type=int, metavar="N", help="its port (default: 104)")
    setup.add_argument("--ae-title", metavar="TITLE", help="its AE title")
    own = "the AE title by which the PACS knows this computer (default: AUTOSEG)"
    setup.add_argument("--own-ae-title", metavar="TITLE", help=own)
    move = "the port of this computer to which the PACS sends on request (C-MOVE), where it does not allow C-GET"
    setup.add_argument("--own-port", type=int, metavar="N", help=move)
    setup.add_argument("--tls", action=argparse.BooleanOptionalAction, help="encrypt DICOM's own protocol")
    trusted = "the hospital's certificate (PEM), where this computer does not know it"
    setup.add_argument("--ca-file", metavar="PEM", help=trusted)
    setup.add_argument("--user", help="with a password, which is asked for")
    setup.add_argument("--password", action="store_true", help="ask for the user's password anew")
    setup.add_argument("--token", action="store_true", help="ask for a token (DICOMweb), in place of a user")
    change = setup.add_mutually_exclusive_group()
    change.add_argument("--check", action="store_true", help="ask whether it is there and lets us in")
    change.add_argument("--remove", action="store_true", help="forget it, and its password")

    get = command(
        "fetch",
        fetch,
        "Search a PACS for series and show them; with --into get them, each into a folder of its own that is there "
        "once all of its files have come. In what is searched for * and ? stand for letters.",
    )
    get.add_argument("connection", help="'autoseg pacs' shows and sets them up")
    get.add_argument("--patient", default="", metavar="ID", help="the patient's ID")
    get.add_argument("--patient-name", default="", metavar="NAME", help="as the PACS writes it, such as 'Doe^J*'")
    get.add_argument("--date", default="", metavar="DAY", help="of the study: 20240131 or 20240101-20240131")
    get.add_argument("--accession", default="", metavar="NUMBER", help="the study's accession number")
    get.add_argument("--study-description", default="", metavar="WORDS")
    get.add_argument("--study", default="", metavar="UID", help="the study's own UID")
    get.add_argument("--modality", default="", metavar="MR")
    get.add_argument("--description", default="", metavar="WORDS", help="of the series")
    get.add_argument("--series", type=int, nargs="+", metavar="N", help="only these, by the numbers that are shown")
    get.add_argument("--into", type=Path, metavar="FOLDER", help="the patient's folder, new or with others")
    codes = "write codes in place of patient IDs into what is made of the folder later, and print none now"
    get.add_argument("--without-ids", dest="is_coded", action="store_true", help=codes)

    give = command(
        "send",
        send,
        "Send DICOM files to a PACS, such as the folder dicom of a run. What and where is shown before, and what "
        "became "
        "of each file after.",
    )
    give.add_argument("connection", help="'autoseg pacs' shows and sets them up")
    give.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files and folders")
    give.add_argument("--yes", action="store_true", help="do not ask after showing it")
    codes = (
        "send copies that do not name the patient, as 'autoseg deidentify' makes them; so it is done in any case "
        "with files of a folder without patient IDs"
    )
    give.add_argument("--without-ids", dest="is_coded", action="store_true", help=codes)


FIELDS = ("url", "host", "port", "ae_title", "own_ae_title", "own_port", "tls", "ca_file", "user")


def pacs(chosen: argparse.Namespace) -> None:
    """Show connections, or set one up."""
    from autoseg.errors import PacsError
    from autoseg.files.pacs.connection import (
        Connection,
        find_connection,
        keep_connection,
        read_connections,
        remove_connection,
    )
    from autoseg.files.pacs.transfer import check_connection

    known = {one.name: one for one in read_connections()}
    typed = {name: value for name in FIELDS if (value := getattr(chosen, name)) is not None}
    if not chosen.name:
        for one in known.values():
            print(one.words)
        if not known:
            print("There is no connection yet. 'autoseg pacs --help' tells how one is set up.")
        return
    if chosen.remove:
        remove_connection(chosen.name)
        print(f"{chosen.name} is forgotten.")
        return
    if typed or chosen.password or chosen.token:
        before = asdict(known[chosen.name]) if chosen.name in known else {"name": chosen.name}
        if "url" in typed:
            before |= {"host": ""}
        if "host" in typed:
            before |= {"url": ""}
        # A password is for one archive: another address is not given it unasked.
        is_elsewhere = any(name in typed and typed[name] != before.get(name) for name in ("url", "host"))
        wants = chosen.password or chosen.token or bool(typed.get("user"))
        wants = wants or (is_elsewhere and bool(before.get("has_secret")))
        secret = ""
        if chosen.token and typed.get("user"):
            raise PacsError("A token is in place of a user. Give --user or --token.")
        if chosen.token:
            typed["user"] = ""
        made = Connection(**{**before, **typed, "has_secret": wants or bool(before.get("has_secret"))})
        if wants:
            what = f"Password of {made.user}" if made.user else "Token"
            try:
                secret = getpass(f"{what} for {made.place}: ")
            except EOFError:
                raise PacsError(
                    f"{what} for {made.place}: nobody can be asked here, so nothing was kept. Type the same in a "
                    "terminal."
                ) from None
            made = replace(made, has_secret=bool(secret))
        keep_connection(made, secret=secret)
    connection = find_connection(chosen.name)
    print(connection.words)
    if chosen.check:
        check_connection(connection)
        print(f"{connection.place} is there and lets us in.")


def fetch(chosen: argparse.Namespace) -> None:
    """Show series, and get them if it is said where to."""
    import pandas as pd

    from autoseg.data import codes
    from autoseg.errors import PacsError
    from autoseg.files.pacs.asked import Wanted
    from autoseg.files.pacs.connection import find_connection
    from autoseg.files.pacs.transfer import get_series, search

    connection = find_connection(chosen.connection)
    wanted = Wanted(
        patient_id=chosen.patient,
        patient_name=chosen.patient_name,
        study_date=chosen.date,
        accession_number=chosen.accession,
        study_description=chosen.study_description,
        study_uid=chosen.study,
        modality=chosen.modality,
        series_description=chosen.description,
    )
    if chosen.is_coded and chosen.into is not None:
        chosen.into.mkdir(parents=True, exist_ok=True)
        print(codes.keep_without_ids(chosen.into))
    is_coded = chosen.is_coded or (chosen.into is not None and codes.is_without_ids(chosen.into))
    with codes.hidden_output(chosen.into), codes.hidden_errors(chosen.into if is_coded else None):
        found = search(connection, wanted)
        if not found:
            raise PacsError(
                f"{connection.place} has no series that matches. Check the spelling, or search with * for letters "
                "that you do not know."
            )
        print(pd.DataFrame(_rows(found, is_coded=is_coded)).to_string(index=False, na_rep=""))
        wrong = [number for number in chosen.series or () if not 1 <= number <= len(found)]
        if wrong:
            raise PacsError(f"There is no series {wrong[0]}; {len(found)} were found. Choose one of their numbers.")
        if chosen.into is None:
            print("Nothing was got: --into FOLDER gets these, with --series and their numbers some of them.")
            return
        some = found if chosen.series is None else [found[number - 1] for number in dict.fromkeys(chosen.series)]
        with _line() as tell:
            fetched = get_series(connection, some, chosen.into, named=not is_coded, on_progress=tell)
        for folder in fetched.folders:
            print(f"Got: {folder}")
        for folder in fetched.earlier:
            print(f"There already, with the same files: {folder}")
        for one, why in fetched.failed:
            print(f"Failed: series {one.number} {'' if is_coded else one.description}: {why}")
        if fetched.failed:
            raise PacsError(
                f"{counted(len(fetched.failed), 'series')} of {len(some)} did not come. The same command gets what "
                "is missing."
            )


def _rows(found: Sequence[FoundSeries], *, is_coded: bool) -> list[dict[str, object]]:
    """Give series as rows; a person typed descriptions, and a date may be known."""
    from autoseg.data.codes import Known, codes_of

    known = codes_of(Known(one.patient_id) for one in found if one.patient_id) if is_coded else {}
    rows: list[dict[str, object]] = []
    for number, one in enumerate(found, start=1):
        told: dict[str, object] = {"n": number}
        if is_coded:
            told |= {"patient": known.get(Known(one.patient_id), "")}
        else:
            told |= {"patient": one.patient_id, "name": one.patient_name, "date": one.study_date}
            told |= {"study": one.study_description}
        told |= {"series": one.number, "modality": one.modality}
        told |= {} if is_coded else {"description": one.description}
        rows.append(told | {"files": "" if one.instances is None else one.instances})
    return rows


def send(chosen: argparse.Namespace) -> None:
    """Show what would go where, ask, send, and say what became of it."""
    import pandas as pd

    from autoseg.data.codes import is_without_ids
    from autoseg.errors import PacsError
    from autoseg.files.pacs.connection import find_connection
    from autoseg.files.pacs.transfer import plan_sending
    from autoseg.files.pacs.transfer import send as send_files
    from autoseg.files.sources import walk

    connection = find_connection(chosen.connection)
    below = [one.parent for path in chosen.paths if path.is_dir() for one in walk(path)[0]]
    is_coded = chosen.is_coded or any(map(is_without_ids, dict.fromkeys([*chosen.paths, *below])))
    with _copies(connection, chosen.paths) if is_coded else nullcontext(chosen.paths) as paths:
        sending = plan_sending(connection, paths)
        print(pd.DataFrame(sending.rows).to_string(index=False))
        for reason, count in sending.left_out:
            print(f"Left out: {counted(count, 'file')}: {reason}")
        print(f"{sending.words}{', without the patient' if is_coded else ''}.")
        if not chosen.yes and not _agreed(sending):
            print("Nothing was sent.")
            return
        with _line() as tell:
            sent = send_files(sending, on_progress=tell)
    done, bad = sent.of("sent"), sent.of("failed", "not sent")
    for one in done:
        if one.why:
            print(f"Sent, with a remark of the PACS: {one.file.path.name}: {one.why}")
    for one in bad[:MOST_SHOWN]:
        print(f"{one.state.capitalize()}: {one.file.path}{f': {one.why}' if one.why else ''}")
    if len(bad) > MOST_SHOWN:
        print(f"… and {len(bad) - MOST_SHOWN} more.")
    print(f"{counted(len(done), 'file')} of {len(sending.files)} sent to {connection.place}.")
    if bad:
        raise PacsError(f"{counted(len(bad), 'file')} did not arrive. The same command sends all of them again.")


def _agreed(sending: Sending) -> bool:
    from autoseg.errors import PacsError

    if not sys.stdin.isatty():
        raise PacsError(
            f"Nothing was sent to {sending.connection.place}: nobody can be asked here. With --yes it is sent "
            "without."
        )
    return input("Send? [y/N] ").strip().lower() in ("y", "yes")


@contextmanager
def _copies(connection: Connection, paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give a folder of copies that do not name the patient, for as long as the block lasts."""
    from autoseg.data.deidentify import deidentify_files
    from autoseg.errors import PacsError
    from autoseg.files.sources import walk

    gone = [path for path in paths if not path.exists()]
    if gone:
        raise PacsError(f"{gone[0]} does not exist, so nothing was sent to {connection.place}. Check the name.")
    files = [one for path in paths for one in (walk(path)[0] if path.is_dir() else [path])]
    with tempfile.TemporaryDirectory() as folder:
        made = deidentify_files(files, Path(folder) / "copies")
        for reason, count in made.left_out:
            print(f"Left out: {counted(count, 'file')}: {reason}")
        yield sorted(made.folder.rglob("*.dcm"))


@contextmanager
def _line() -> Iterator[Callable[[TransferProgress], None]]:
    """Print on a terminal how far a transfer is, on one line."""

    def tell(progress: TransferProgress) -> None:
        if sys.stderr.isatty():
            print(f"\r{progress!s:60}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if sys.stderr.isatty():
            print(file=sys.stderr, flush=True)
