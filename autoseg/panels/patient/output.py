"""The panel that tells where a run's files are, opens their folder, and hands them over as one zip."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as widgets

from autoseg.files.archives import size_words, zip_folder
from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, text
from autoseg.report.run_folder import list_run_files, open_folder, why_not_openable


class OutputPanel(Panel):
    """Where the result went; `value` is the run's folder.

    Parameters
    ----------
    prediction : Panel
        Its value is a Run.
    """

    def __init__(self, prediction: Panel) -> None:
        super().__init__()
        self.open_button = widgets.Button(
            description="Open the folder", icon="folder-open", layout=widgets.Layout(width="180px")
        )
        self.open_button.on_click(lambda _: self.open_in_window())
        self.download = DownloadButton("run.zip", self.pack, description="Download all as zip")
        self.table = widgets.HTML()
        self.reason = widgets.HTML()
        self.follow(prediction, self._update)

    def open_in_window(self) -> None:
        """Open the run's folder in the computer's own way, as the button does."""
        folder = self.value
        with self.attempt():
            if folder is not None:
                open_folder(folder)
                self.say(f"{folder} was opened in another window.", "done")

    def pack(self) -> bytes:
        """Give all files of the run as a zip, as the download does."""
        return zip_folder(self.value) if self.value is not None else b""

    def _update(self, run: Any) -> None:
        self.value = None
        if run is None:
            self.body.children = []
            self.say("First segment a patient above.")
            return
        folder = run.folder.resolve()
        files = list_run_files(folder)
        self.say("")
        self.table.value = _file_table(files)
        reason = why_not_openable()
        self.open_button.disabled, self.open_button.tooltip = bool(reason), reason or f"Open {folder}"
        self.reason.value = text(reason)
        self.download.name = f"{folder.name}.zip"
        self.body.children = [
            widgets.HTML(heading("Where it went") + text(str(folder))),
            widgets.HBox([self.open_button, self.download], layout=widgets.Layout(align_items="center")),
            self.reason,
            self.table,
        ]
        self.value = folder


def _file_table(files: list[Any]) -> str:
    rows = "".join(
        f'<tr><td style="text-align:left">{html.escape(file.name)}</td>'
        f'<td style="text-align:right;white-space:nowrap">{file.count if file.count > 1 else ""}</td>'
        f'<td style="text-align:right;white-space:nowrap">{size_words(file.size)}</td>'
        f'<td style="text-align:left">{html.escape(file.meaning)}</td></tr>'
        for file in files
    )
    head = "".join(
        f'<th scope="col" style="text-align:left">{w}</th>' for w in ("File", "Files", "Size", "What it is")
    )
    return (
        '<table style="color:var(--jp-ui-font-color1,inherit);border-spacing:12px 2px;border-collapse:separate">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )
