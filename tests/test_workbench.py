"""workbench.py, piece by piece and with a pip that never runs; the lab that it starts is real."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from lab import load_workbench


@pytest.fixture
def workbench(root: Path) -> ModuleType:
    return load_workbench(root)


@pytest.fixture
def place(workbench, tmp_path):
    folder = tmp_path / "Müllers Ordner"
    folder.mkdir()
    (folder / "constraints.txt").write_text("torch==2.13.0\n")
    (folder / "pyproject.toml").write_text("[project]\n")
    return workbench.Place(folder)


class Pip:
    """Stands in for venv and pip; `answers` are the exit codes and outputs of the next steps."""

    def __init__(self):
        self.commands = []
        self.answers = []

    def __call__(self, place, command):
        self.commands.append(command)
        if "venv" in command:
            place.python.parent.mkdir(parents=True, exist_ok=True)
            place.python.touch()
            place.stamp.unlink(missing_ok=True)
        code, output = self.answers.pop(0) if self.answers else (0, "")
        with place.log.open("a") as log:
            log.write(f"\n$ {command}\n{output}")
        return code, output


@pytest.fixture
def pip(workbench, monkeypatch):
    fake = Pip()
    monkeypatch.setattr(workbench, "run_logged", fake)
    monkeypatch.setattr(workbench, "_works", lambda python: python.exists())
    return fake


def started(workbench, monkeypatch) -> list[list[str]]:
    """Record what `main` starts in place of starting it."""
    commands = []
    monkeypatch.setattr(workbench, "run", lambda place, command: commands.append(command) or 0)
    return commands


# --- installing only when needed


def test_first_start_installs_torch_first_and_everything_with_constraints(workbench, place, pip):
    workbench.install(place, dev=True)
    venv, torch, rest, compiled = pip.commands
    assert venv[1:] == ["-m", "venv", "--clear", ".venv"]
    assert torch[-3:] == ["-c", "constraints.txt", "torch"]
    assert rest[-4:] == ["-c", "constraints.txt", "-e", ".[dev]"]
    assert torch[0] == rest[0] == compiled[0] == str(place.python)


def test_all_is_compiled_at_last_but_tests_and_what_cannot_be_is_no_failure(workbench, place, pip):
    pip.answers = [(0, ""), (0, ""), (0, ""), (1, "SyntaxError")]
    workbench.install(place, dev=False)
    assert all("--no-compile" in command for command in pip.commands[1:3])
    assert workbench.is_ready(place, dev=False)
    package = place.venv / "lib" / "package"
    (package / "tests").mkdir(parents=True)
    for path in (package / "good.py", package / "tests" / "test_good.py"):
        path.write_text("x = 1\n")
    (package / "other.py").write_text("print 'of another Python'\n")
    subprocess.run([sys.executable, *pip.commands[-1][1:]], cwd=place.root, check=False)
    assert [path.name.partition(".")[0] for path in place.venv.rglob("*.pyc")] == ["good"]


def test_second_start_installs_nothing(workbench, place, pip):
    workbench.install(place, dev=False)
    assert workbench.is_ready(place, dev=False)


def test_tests_need_the_developers_tools_and_the_rest_does_not_lose_them(workbench, place, pip):
    workbench.install(place, dev=False)
    assert not workbench.is_ready(place, dev=True)
    workbench.install(place, dev=True)
    assert workbench.is_ready(place, dev=True)
    assert workbench.is_ready(place, dev=False)
    (place.root / "constraints.txt").write_text("torch==2.13.1\n")
    workbench.install(place, dev=False)
    assert pip.commands[-2][-1] == ".[dev]"


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_changed_versions_are_installed_into_the_same_environment(workbench, place, pip, name):
    workbench.install(place, dev=False)
    with (place.root / name).open("a") as file:
        file.write("# changed\n")
    assert not workbench.is_ready(place, dev=False)
    pip.commands.clear()
    workbench.install(place, dev=False)
    assert not any("venv" in command for command in pip.commands)
    assert workbench.is_ready(place, dev=False)


def test_a_moved_folder_is_installed_again(workbench, place, pip):
    workbench.install(place, dev=False)
    moved = workbench.Place(place.root.rename(place.root.with_name("moved")))
    assert not workbench.is_ready(moved, dev=False)


def test_an_interrupted_set_up_starts_afresh(workbench, place, pip, monkeypatch, capsys):
    def interrupt(place, command):
        if "torch" in command:
            raise KeyboardInterrupt
        return pip(place, command)

    monkeypatch.setattr(workbench, "run_logged", interrupt)
    assert workbench.main(["demo"], place) == 130
    assert "next start" in capsys.readouterr().err
    assert not workbench.is_ready(place, dev=False)
    monkeypatch.setattr(workbench, "run_logged", pip)
    pip.commands.clear()
    workbench.install(place, dev=False)
    assert "--clear" in pip.commands[0]
    assert workbench.is_ready(place, dev=False)


def test_a_foreign_environment_is_used_and_not_cleared(workbench, place, pip):
    place.python.parent.mkdir(parents=True)
    place.python.touch()
    workbench.install(place, dev=False)
    assert not any("venv" in command for command in pip.commands)


# --- failures in plain words


NO_MATCH = """Collecting pydicom
  Downloading pydicom-3.0.2-py3-none-any.whl (2.4 MB)
ERROR: Could not find a version that satisfies the requirement nibabel>=5.3 (from versions: none)
ERROR: No matching distribution found for nibabel>=5.3
"""
NO_BUILD = """Collecting python-gdcm
Building wheels for collected packages: python-gdcm
  ERROR: Failed building wheel for python-gdcm
Failed to build python-gdcm
ERROR: Failed to build installable wheels for some pyproject.toml based projects (python-gdcm)
"""
NO_BUILD_NEW = """error: failed-wheel-build-for-install

× Failed to build installable wheels for some pyproject.toml based projects
╰─> psutil
"""
CONFLICT = """ERROR: Cannot install autoseg because these package versions have conflicting dependencies.
    autoseg 0.1.0 depends on nibabel>=77
    The user requested (constraint) nibabel==5.4.2
ERROR: ResolutionImpossible: for help visit the documentation
"""


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (NO_MATCH, ["nibabel"]),
        (NO_BUILD, ["python-gdcm"]),
        (NO_BUILD_NEW, ["psutil"]),
        (CONFLICT, ["nibabel", "constraints.txt do not fit"]),
        ("ERROR: Failed to build 'scipy' when getting requirements to build wheel", ["scipy"]),
        ("Collecting torch\nCollecting monai\nMemoryError", ["monai"]),
        ("Collecting torch\nERROR: [Errno 28] No space left on device", ["torch", "disk is full"]),
        ("after connection broken by 'NewConnectionError'\n" + NO_MATCH, ["nibabel", "internet", "proxy"]),
        ("HINT: no Windows Long Path support enabled", ["PyTorch", "short"]),
        ("ensurepip is not available", ["python3-venv"]),
        ("", ["PyTorch could not be installed", "The log says why"]),
    ],
)
def test_a_failed_package_is_named_with_remedy_and_log(workbench, tmp_path, output, words):
    text = workbench.explain(output, what="PyTorch", log=tmp_path / "install.log")
    for word in [*words, str(tmp_path / "install.log")]:
        assert word in text
    assert "installable" not in text.splitlines()[0]


def test_a_failing_pip_ends_with_code_1_and_is_tried_again(workbench, place, pip, monkeypatch, capsys):
    commands = started(workbench, monkeypatch)
    pip.answers = [(0, ""), (0, ""), (1, NO_MATCH)]
    assert workbench.main(["demo"], place) == 1
    assert "The package nibabel could not be installed" in capsys.readouterr().err
    assert not commands
    assert not workbench.is_ready(place, dev=False)
    pip.commands.clear()
    assert workbench.main(["demo"], place) == 0
    assert not any("venv" in command for command in pip.commands)  # nothing was half installed


def test_a_pip_that_failed_half_way_starts_afresh(workbench, place, pip):
    pip.answers = [(0, ""), (1, "Installing collected packages: torch\nERROR: [Errno 28] No space left")]
    with pytest.raises(workbench.SetupError, match="disk is full"):
        workbench.install(place, dev=False)
    pip.commands.clear()
    workbench.install(place, dev=False)
    assert "--clear" in pip.commands[0]


def test_the_log_holds_what_a_real_command_said(workbench, place):
    command = [sys.executable, "-c", "import sys; print('Größe'); print('bad', file=sys.stderr); sys.exit(3)"]
    code, output = workbench.run_logged(place, command)
    assert code == 3
    assert output.splitlines() == ["Größe", "bad"] or output.splitlines() == ["bad", "Größe"]
    assert "Größe" in place.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_workbench_alone_without_its_folder_says_so(workbench, place, capsys, name):
    (place.root / name).unlink()
    assert workbench.main(["demo"], place) == 1
    assert f"{name} is missing" in capsys.readouterr().err


def test_an_old_python_is_told_in_one_sentence(root):
    code = f"import runpy, sys; sys.version_info = (3, 9, 1); runpy.run_path({str(root / 'workbench.py')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs Python 3.11 or later, and this is Python 3.9." in done.stderr
    assert "Traceback" not in done.stderr


def test_an_old_python_can_parse_the_file(root):
    tree = ast.parse((root / "workbench.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    # feature_version lets these two through, and they are what one writes without thinking.
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr | ast.Match)]


# --- what is started


def test_the_commands_and_their_arguments(workbench, place):
    python = str(place.python)
    assert workbench.command_line(place, "test", [])[1:5] == ["-m", "pytest", "-n", "2"]
    assert workbench.command_line(place, "test", ["-k", "x"]) == [python, "-m", "pytest", "-k", "x"]
    assert workbench.command_line(place, "demo", ["--minutes", "1"]) == [
        *(python, "-m", "autoseg", "demo", "--minutes", "1")
    ]
    assert workbench.command_line(place, "selftest", []) == [python, "-m", "autoseg", "selftest"]
    lab = workbench.command_line(place, "lab", ["--no-browser"])
    assert lab[:3] == [python, "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={place.root}" in lab
    assert lab[-1] == "--no-browser"


def test_arguments_reach_the_child(workbench, place, pip, monkeypatch):
    commands = started(workbench, monkeypatch)
    assert workbench.main(["test", "-k", "two words"], place) == 0
    assert commands[0][-2:] == ["-k", "two words"]


def test_children_wait_passively_and_see_no_other_python(workbench, place, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("JUPYTER_PATH", "elsewhere")
    monkeypatch.setenv("SOMETHING", "kept")
    environment = workbench.environment(place)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["SOMETHING"] == "kept"
    assert not {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "JUPYTER_PATH"} & set(environment)


# --- the lab is for the person in front of this computer


@dataclass
class LabServer:
    """A JupyterLab that the workbench started: where it listens, and what it answers to whom."""

    addresses: set[str]
    token: str
    root_dir: Path
    url: str

    def ask(self, path: str, data: dict | None = None, **headers: str) -> tuple[int, str]:
        """Give status and text of the answer to a request, which sends `data` if there are any."""
        request = urllib.request.Request(self.url + path, json.dumps(data).encode() if data else None, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def lab_server(root, tmp_path_factory):
    """Start the lab once, as a person does whose own Jupyter is open to everybody."""
    folder, patch = tmp_path_factory.mktemp("lab"), pytest.MonkeyPatch()
    workbench = load_workbench(root)
    place = workbench.Place(folder / "project")
    place.root.mkdir()
    (place.root / "patient.csv").write_text("17.5")
    place.python = Path(sys.executable)
    own = folder / "own"
    own.mkdir()
    (own / "jupyter_server_config.py").write_text(
        "c.ServerApp.ip = '0.0.0.0'\nc.IdentityProvider.token = ''\nc.ServerApp.allow_origin = '*'\n"
        "c.ServerApp.disable_check_xsrf = True\nc.ServerApp.allow_remote_access = True\n"
    )
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH"):
        patch.setenv(name, str(own))
    for name in ("DATA_DIR", "RUNTIME_DIR"):
        patch.setenv(f"JUPYTER_{name}", str(folder / name))
    for name in ("JUPYTER_TOKEN", "JUPYTER_TOKEN_FILE", "JUPYTER_NO_CONFIG"):
        patch.delenv(name, raising=False)
    workbench.lay_out(place)
    command = workbench.command_line(place, "lab", ["--no-browser", "--port=0"])
    command.append(f"--LabApp.app_settings_dir={place.page.parents[1]}")  # of .venv, if this were one
    log = folder / "lab.log"
    with log.open("wb") as said:
        server = subprocess.Popen(command, env=workbench.environment(place), stdout=said, stderr=said)
    patch.undo()
    try:
        yield reached(server, folder / "RUNTIME_DIR", log)
    finally:
        server.kill()  # it has no kernels, and would take seconds to say goodbye
        server.wait()


def reached(server: subprocess.Popen, runtime: Path, log: Path) -> LabServer:
    """Wait until a server has told where it is; skip where none can be started."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                told = json.loads(file.read_text())
            except ValueError:  # it is being written
                continue
            process = psutil.Process(told["pid"])
            listening = {c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
            url = f"http://127.0.0.1:{next(iter(listening)).port}"
            return LabServer({address.ip for address in listening}, told["token"], Path(told["root_dir"]), url)
        time.sleep(0.1)
    pytest.skip("JupyterLab does not start here: " + log.read_text(errors="replace")[-300:])


def test_the_lab_listens_on_this_computer_only(lab_server):
    assert lab_server.addresses == {"127.0.0.1"}
    assert lab_server.root_dir.name == "project"


def test_the_lab_answers_nobody_without_its_token(lab_server):
    assert len(lab_server.token) >= 32
    for path in ("/api/contents", "/api/kernels", "/lab/api/extensions", "/api/contents?token=wrong"):
        assert lab_server.ask(path)[0] == 403, path
    for path in ("/lab", "/files/patient.csv"):
        assert 'name="password"' in lab_server.ask(path)[1]  # the page that asks for the token
    assert lab_server.ask(f"/files/patient.csv?token={lab_server.token}") == (200, "17.5")
    assert lab_server.ask(f"/api/contents?token={lab_server.token}")[0] == 200


def test_the_lab_obeys_no_page_of_another_address(lab_server):
    with urllib.request.urlopen(f"{lab_server.url}/lab?token={lab_server.token}", timeout=30) as page:
        cookies = [text.partition(";")[0] for text in page.headers.get_all("Set-Cookie")]
    browser = {"Cookie": "; ".join(cookies), "Content-Type": "application/json"}
    order = ("/api/contents", {"type": "file"})
    [xsrf] = [text.partition("=")[2] for text in cookies if text.startswith("_xsrf=")]
    own_page = {"Referer": f"{lab_server.url}/lab", "X-XSRFToken": xsrf, **browser}
    assert lab_server.ask(*order, **own_page)[0] == 201
    assert "_xsrf" in lab_server.ask(*order, **{**own_page, "X-XSRFToken": ""})[1]
    assert lab_server.ask(*order, **own_page, Origin="http://evil.example")[0] == 404
    assert lab_server.ask("/api/contents", Host="evil.example", **browser)[0] == 403
    assert len(list(lab_server.root_dir.glob("untitled*"))) == 1


def test_nothing_is_installed_and_no_news_is_fetched(lab_server):
    token = {"Authorization": f"token {lab_server.token}", "Content-Type": "application/json"}
    order = {"cmd": "install", "extension_name": "autoseg-no-such-extension"}
    status, text = lab_server.ask("/lab/api/extensions", order, **token)
    assert (status, "blocked" in text) == (422, True)
    page = lab_server.ask(f"/lab?token={lab_server.token}")[1]
    assert '"news": {"disabled": true}' in page
    assert json.loads(lab_server.ask("/lab/api/news", **token)[1])["news"] == []
    for plugin, values in load_workbench(Path(__file__).parents[1]).PAGE_SETTINGS.items():
        known = json.loads(lab_server.ask(f"/lab/api/settings/{plugin}", **token)[1])["schema"]["properties"]
        assert {name: known[name]["default"] for name in values} == values
    assert lab_server.ask("/api/terminals", **token)[0] == 404


def test_the_first_page_has_no_side_bar_and_a_page_that_was_laid_out_stays(lab_server, workbench, place):
    token = {"Authorization": f"token {lab_server.token}"}
    shown = json.loads(lab_server.ask("/lab/api/workspaces/default", **token)[1])["data"]["layout-restorer:data"]
    assert shown["left"]["collapsed"]
    assert "current" not in shown["left"]  # it would be opened
    workbench.lay_out(place)
    place.layout.write_text("{}")
    workbench.lay_out(place)
    assert place.layout.read_text() == "{}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ip=0.0.0.0"], "other computers can reach"),
        (["--ServerApp.ip", "*"], "other computers can reach"),
        (["--ip="], "other computers can reach"),
        (["--IdentityProvider.token="], "no token is asked for"),
        (["--ServerApp.token", ""], "no token is asked for"),
        (["--ServerApp.allow_remote_access=True"], "other addresses"),
        (["--ServerApp.allow_origin=*"], "read what this JupyterLab shows"),
        (["--ServerApp.disable_check_xsrf=true"], "give orders"),
        (["--LabApp.extension_manager=pypi"], "packages of others"),
    ],
)
def test_an_argument_that_opens_the_lab_wins_and_is_told(
    workbench, place, pip, monkeypatch, capsys, arguments, words
):
    commands = started(workbench, monkeypatch)
    assert workbench.main(["lab", *arguments], place) == 0
    assert commands[0][-len(arguments) :] == arguments
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Take care")] == lines[-1:]
    assert words in lines[-1]


def test_harmless_arguments_of_the_lab_are_passed_in_silence(workbench):
    harmless = ["--no-browser", "--port=9000", "--ip=::1", "--ip", "localhost", "--IdentityProvider.token=a1b2"]
    assert workbench.opened([*harmless, "--ServerApp.allow_remote_access=False", "--ServerApp.allow_origin="]) == []


def start_run(root, folder, child):
    """Let workbench.run start `child`, Python code, from a process of its own."""
    code = (
        "import pathlib, runpy, sys\n"
        f"workbench = runpy.run_path({str(root / 'workbench.py')!r})\n"
        f"place = workbench['Place'](pathlib.Path({str(folder)!r}))\n"
        f"sys.exit(workbench['run'](place, [sys.executable, '-c', {child!r}]))"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_the_childs_exit_code_comes_back(root, tmp_path):
    with start_run(root, tmp_path, "raise SystemExit(7)") as process:
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 7


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a console, not to a process")
def test_ctrl_c_ends_quietly(root, tmp_path):
    child = (
        "import time\n"
        "try:\n"
        "    print('up', flush=True)  # inside: the signal may come at once\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    raise SystemExit(5)"
    )
    with start_run(root, tmp_path, child) as process:
        assert process.stdout.readline() == "up\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 5
    assert errors == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without telling it")
def test_ending_the_workbench_ends_what_it_started(root, tmp_path):
    child = "import time; print('up', flush=True); time.sleep(60)"
    with start_run(root, tmp_path, child) as process:
        assert process.stdout.readline() == "up\n"
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_help_is_shown_without_installing(workbench, place, pip, capsys, arguments):
    assert workbench.main(arguments, place) == 0
    text = capsys.readouterr().out
    assert all(f"workbench.py {name}" in text for name in workbench.ABOUT)
    assert pip.commands == []


def test_an_unknown_command_is_refused(workbench, place, pip, capsys):
    assert workbench.main(["tets"], place) == 2
    assert re.search(r'"tets".*demo.*test', capsys.readouterr().err)
    assert pip.commands == []


def test_the_stamp_may_be_damaged(workbench, place, pip):
    workbench.install(place, dev=False)
    place.stamp.write_text("{")
    assert not workbench.is_ready(place, dev=False)
    place.stamp.write_text(json.dumps([1]))
    assert workbench.read_stamp(place) == {}
