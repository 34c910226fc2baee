"""Set up and start autoseg with one command. Nothing but Python 3.11 or later is needed.

    python3 workbench.py demo        learn from the sample slices, segment a patient that was never
                                     seen and print the areas (about 5 minutes on two processor cores)
    python3 workbench.py lab         open the notebooks in JupyterLab, in the browser
    python3 workbench.py selftest    measure phantoms of known size (about a minute)
    python3 workbench.py test        run all of autoseg's tests, for developers (a few minutes)

On Windows type "py" in place of "python3". The first start also installs what autoseg needs into the
folder .venv beside this file (1 to 5 minutes, 2 to 6 GB); later starts take a second or two. Words after
the command are passed on, for instance: python3 workbench.py lab --no-browser
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python gets this far, and is told so
    sys.exit(
        "autoseg needs Python 3.11 or later, and this is Python {}.{}. Install one, from python.org or "
        "with Anaconda Navigator, and start workbench.py with it.".format(*sys.version_info[:2])
    )

import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import time
from pathlib import Path

ABOUT = {
    "demo": "Learning from the sample slices, then measuring a patient never seen (about 5 minutes).",
    "lab": "Opening the notebooks in JupyterLab; your browser shows them in a moment. Ctrl-C stops it.",
    "selftest": "Measuring phantoms of known size through autoseg's own reader and tables (about a minute).",
    "test": "Running autoseg's tests (a few minutes).",
}

# Whatever a file's tests share is made once; the longest files come first (tests/conftest.py).
TWO_WORKERS = ["-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"]
# Without tests, which nobody imports. With autoseg itself, which else each of several processes would compile.
COMPILE = ("-m", "compileall", "-qq", "-j", "0", "-x", r"[\\/]tests?[\\/]", ".venv", "autoseg")

# What pip prints when a package fails, in the order of how precisely it names the package.
FAILED_PACKAGE = (
    r"[Ff]ailed building (?:wheel|editable) for ([\w.-]+)",
    r"Failed to build '?(?!installable)([\w.-]+)",
    r"installable wheels[^\n]*\s+╰─> ([\w.-]+)",
    r"No matching distribution found for ([\w.-]+)",
    r"satisfies the requirement ([\w.-]+)",
    r"requested \(constraint\) ([\w.-]+)==",
    r"ERROR: Package '([\w.-]+)' requires a different Python",
)
REMEDIES = (
    ("No space left|Errno 28", "The disk is full; autoseg needs up to 6 GB."),
    ("Long Path", "The folder's path is too long for Windows; move it to a short one such as C:\\autoseg."),
    ("Permission denied|WinError (5|32)", "A file is protected or in use; close JupyterLab and try again."),
    (
        "connection broken|ConnectionError|name resolution|ProxyError|timed out|SSLError|CERTIFICATE_VERIFY",
        "The package server was not reached; check the internet connection and your institution's proxy.",
    ),
    ("ensurepip", "Python's venv module is missing; on Debian and Ubuntu: sudo apt install python3-venv"),
    ("ResolutionImpossible", "pyproject.toml and constraints.txt do not fit together; get both anew."),
)


# One person's JupyterLab on one computer: nobody else is listened to, nothing is installed, fetched or asked
# for. A terminal can do no more than a notebook may, and panels need none. Saved notebooks keep no panels.
CLOSED_LAB = (
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.allow_remote_access=False",
    "--ServerApp.allow_unauthenticated_access=False",
    "--ServerApp.allow_origin=",
    "--ServerApp.allow_origin_pat=",
    "--ServerApp.disable_check_xsrf=False",
    "--ServerApp.terminals_enabled=False",
    "--LabApp.extension_manager=readonly",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--ContentsManager.pre_save_hook=autoseg.files.notebooks.keep_no_panels",
)
# Which value of an option opens it again, and what is said then.
OPENED_LAB = {
    "ip": (r"(?!(127\.[\d.]+|::1|localhost)$)", "other computers can reach this JupyterLab"),
    "token": (r"$", "no token is asked for: any program and any account of this computer can use it"),
    "allow_remote_access": (r"(?i)(true|1)?$", "pages of other addresses can reach this JupyterLab"),
    "allow_origin": (r".", "other pages in the browser can read what this JupyterLab shows"),
    "allow_origin_pat": (r".", "other pages in the browser can read what this JupyterLab shows"),
    "disable_check_xsrf": (r"(?i)(true|1)?$", "other pages in the browser can give orders to this JupyterLab"),
    "extension_manager": (r"(?!readonly$)", "packages of others can be installed with a click"),
}
# What the page does by itself, unless its user chose otherwise: it asks for no news, and says so where cells are
# run before the kernel is ready, which would be lost without a word.
PAGE_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
    "@jupyterlab/notebook-extension:tracker": {"enableKernelInitNotification": True},
}
# How the page is laid out at the first start: the notebook alone. What is opened later stays so.
FIRST_LAYOUT = {
    "data": {
        "layout-restorer:data": {
            "left": {"collapsed": True, "visible": True},
            "right": {"collapsed": True, "visible": True},
            "relativeSizes": [0, 1, 0],
        }
    },
    "metadata": {"id": "default"},
}


class SetupError(Exception):
    """A set-up that failed; its text is a plain sentence for the person in front of the screen."""


class Place:
    """The autoseg folder and what the workbench keeps in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.stamp = self.venv / "workbench.json"  # what was installed
        self.log = root / "install.log"  # all that pip said; not in .venv, which file managers hide
        self.config = self.venv / "etc" / "jupyter"  # JupyterLab's own, and what its user chose
        self.layout = self.config / "lab" / "workspaces" / "default-37a8.jupyterlab-workspace"
        self.page = self.venv / "share" / "jupyter" / "lab" / "settings" / "overrides.d" / "autoseg.json"


def fingerprint(place: Place) -> str:
    """Give a text that changes whenever the environment is out of date: versions, folder or Python."""
    digest = hashlib.sha256()
    for name in ("constraints.txt", "pyproject.toml"):
        if not (place.root / name).is_file():
            raise SetupError(
                f"{name} is missing in {place.root}. Get the whole autoseg folder, not workbench.py alone."
            )
        digest.update((place.root / name).read_bytes())
    digest.update(os.fsencode(place.root) + os.fsencode(place.python.resolve()))
    return digest.hexdigest()


def read_stamp(place: Place) -> dict[str, object]:
    """Read what was installed; empty if nothing was, or the environment was not made by the workbench."""
    try:
        stamp = json.loads(place.stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_ready(place: Place, *, dev: bool) -> bool:
    """Tell whether the environment holds what is asked for."""
    stamp = read_stamp(place)
    up_to_date = fingerprint(place) == stamp.get("fingerprint") and place.python.exists()
    return up_to_date and (bool(stamp.get("dev")) or not dev)


def install(place: Place, *, dev: bool) -> None:
    """Make .venv if needed and install autoseg with the versions in constraints.txt."""
    before = read_stamp(place)
    dev = dev or bool(before.get("dev"))
    print(f"Setting up autoseg in {place.venv}: this is needed once and takes 1 to 5 minutes.", flush=True)
    about = f"{time.strftime('%Y-%m-%d %H:%M')}  Python {platform.python_version()}  {platform.platform()}\n"
    place.log.write_text(about, encoding="utf-8")
    # After an interruption nobody knows which package is whole: start afresh.
    if before.get("unfinished") or not _works(place.python):
        base_python = getattr(sys, "_base_executable", None) or sys.executable
        _step(place, "a Python environment (a few seconds)", [base_python, "-m", "venv", "--clear", ".venv"])
        before = {}
    place.stamp.write_text(json.dumps({"unfinished": True, "dev": dev}), encoding="utf-8")
    pip = [str(place.python), "-m", "pip", "install", "--no-compile", "-c", "constraints.txt"]
    try:
        # The largest package goes first, so that nothing else can choose its version.
        _step(place, "PyTorch (the largest part)", [*pip, "torch"])
        what = "JupyterLab and the other packages" + (", with the developers' tools" if dev else "")
        _step(place, what, [*pip, "-e", ".[dev]" if dev else "."])
    except SetupError:
        if b"Installing collected packages" not in place.log.read_bytes().rpartition(b"\n$ ")[2]:
            # pip gave up before it touched anything, so what is there stays good.
            place.stamp.write_text(json.dumps(before), encoding="utf-8")
        raise
    # On all cores, where pip takes one. Some files are meant for another Python: no failure.
    print("Preparing them for quick starts …", flush=True)
    run_logged(place, [str(place.python), *COMPILE])
    place.stamp.write_text(json.dumps({"fingerprint": fingerprint(place), "dev": dev}), encoding="utf-8")
    print("Everything is installed.", flush=True)


def _works(python: Path) -> bool:
    check = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([str(python), "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _step(place: Place, what: str, command: list[str]) -> None:
    print(f"Installing {what} …", flush=True)
    code, output = run_logged(place, command)
    if code:
        raise SetupError(explain(output, what=what, log=place.log))


def run_logged(place: Place, command: list[str]) -> tuple[int, str]:
    """Run a command with its output in the log and the seconds on the screen; give exit code and output."""
    began = time.monotonic()
    with place.log.open("ab") as log:
        log.write(f"\n$ {subprocess.list2cmdline(command)}\n".encode())
        log.flush()
        start = log.tell()
        with subprocess.Popen(
            command, cwd=place.root, env=environment(place), stdout=log, stderr=subprocess.STDOUT
        ) as process:
            while process.poll() is None:
                time.sleep(0.2)
                if sys.stdout.isatty():
                    print(f"\r  {time.monotonic() - began:.0f} s ", end="", flush=True)
    if sys.stdout.isatty():
        print()
    return process.returncode, place.log.read_bytes()[start:].decode("utf-8", "replace")


def explain(output: str, *, what: str, log: Path) -> str:
    """Say in plain words which package failed, what may help, and where the log is."""
    found = [name for pattern in FAILED_PACKAGE for name in re.findall(pattern, output)]
    # Otherwise the package that pip was busy with when it stopped.
    found += re.findall(r"^\s*Collecting ([\w.-]+)", output, flags=re.MULTILINE)[-1:]
    name = f"The package {found[0]}" if found else what[0].upper() + what[1:]
    remedy = next((text for words, text in REMEDIES if re.search(words, output)), "The log says why.")
    return f"{name} could not be installed. {remedy}\nThe log of the installation: {log}"


def environment(place: Place) -> dict[str, str]:
    """Give the environment variables of everything that the workbench starts."""
    # Another Python's folders must not mix with .venv, nor the settings of another JupyterLab, where a token
    # may be empty and an address open.
    foreign = {"PYTHONPATH", "PYTHONHOME", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH"}
    foreign.add("PYTHONDONTWRITEBYTECODE")  # every start would compile autoseg again, which takes a second
    kept = {k: v for k, v in os.environ.items() if k not in foreign}
    return kept | {
        "JUPYTER_CONFIG_DIR": str(place.config),
        "OMP_WAIT_POLICY": "PASSIVE",  # twice as fast where another program uses a core
        "PYTHONUTF8": "1",
        "PIP_NO_INPUT": "1",
        "PIP_USER": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel "python3" is the one in .venv
    }


def command_line(place: Place, name: str, arguments: list[str]) -> list[str]:
    """Give what a command starts in the environment; the user's arguments come last and win."""
    python = [str(place.python), "-m"]
    if name == "test":
        return [*python, "pytest", *(arguments or TWO_WORKERS)]
    if name != "lab":
        return [*python, "autoseg", name, *arguments]
    lab = [
        f"--ServerApp.root_dir={place.root}",
        "--LabApp.default_url=/lab/tree/notebooks/1_train.ipynb",
        "--ServerApp.answer_yes=True",  # Ctrl-C stops without a question
        *CLOSED_LAB,
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        lab.append("--allow-root")
    return [*python, "jupyterlab", *lab, *arguments]


def lay_out(place: Place) -> None:
    """Say how JupyterLab's page begins; a page that its user laid out already stays as it is."""
    for path, content in ((place.page, PAGE_SETTINGS), (place.layout, FIRST_LAYOUT)):
        if path == place.page or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content), encoding="utf-8")


def opened(arguments: list[str]) -> list[str]:
    """Say what the user's own arguments open that the workbench keeps closed; a sentence for each."""
    sentences = []
    for number, argument in enumerate(arguments):
        found = re.fullmatch(r"--(?:\w+\.)?(\w+)(?:=(.*))?", argument, re.DOTALL)
        dangerous, why = OPENED_LAB.get(found[1], (None, "")) if found else (None, "")
        value = found[2] if found else None
        if value is None:  # --ip ADDRESS
            value = next((word for word in arguments[number + 1 : number + 2] if not word.startswith("--")), "")
        if dangerous and re.match(dangerous, value):
            sentences.append(f"Take care: with {argument} {why}.")
    return sentences


def run(place: Place, command: list[str]) -> int:
    """Run a command in the foreground and give its exit code; Ctrl-C goes to it and ends quietly."""
    child = subprocess.Popen(command, cwd=place.root, env=environment(place))
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            continue  # the child was told too, and ends in its own time
        return code if code >= 0 else 128 - code


def main(arguments: list[str], place: Place) -> int:
    """Do what the first argument says; give the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    name = arguments[0]
    if name not in ABOUT:
        print(f'"{name}" is none of {", ".join(ABOUT)}. Type: python3 workbench.py --help', file=sys.stderr)
        return 2
    try:
        if not is_ready(place, dev=name == "test"):
            install(place, dev=name == "test")
        if name == "lab":
            lay_out(place)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The set-up in {place.root} failed: {error}. May you write there?", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped during the set-up; the next start does it again.", file=sys.stderr)
        return 130
    print(ABOUT[name], *(opened(arguments[1:]) if name == "lab" else ()), sep="\n", flush=True)
    return run(place, command_line(place, name, arguments[1:]))


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console may lack a letter of a path
    sys.exit(main(sys.argv[1:], Place(Path(__file__).resolve().parent)))
