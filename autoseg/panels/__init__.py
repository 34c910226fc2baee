"""The notebooks' panels: the only place that knows ipywidgets, anywidget and IPython.

A panel shows what the public functions give and calls them at a click; it decides nothing itself. Importing this
lets a notebook say in plain words what goes wrong.
"""

import lazy_loader

from autoseg.panels.parts.notebook import speak_plainly

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "parts.area_table": ["AreaTable"],
        "patient.areas": ["AreasPanel"],
        "patient.models": ["BasePanel", "ModelPanel"],
        "comparison.best": ["BestPanel"],
        "patient.centreline": ["CentrelinePanel"],
        "parts.chooser": ["FolderChooser"],
        "comparison.comparison": ["ComparisonPanel"],
        "comparison.forecast": ["ForecastPanel"],
        "training.computer": ["ComputerPanel"],
        "patient.corrections": ["CorrectionsPanel"],
        "data.data": ["DataPanel"],
        "patient.expert": ["ExpertPanel"],
        "patient.morphometry": ["MorphometryPanel"],
        "patient.old_table": ["OldTablePanel"],
        "patient.prediction": ["OutputPanel", "PredictionPanel"],
        "parts.panel": ["Panel"],
        "patient.patient": ["PatientPanel"],
        "data.preview": ["PreviewPanel"],
        "comparison.networks": ["NetworksPanel"],
        "comparison.results": ["ResultsPanel"],
        "comparison.scenarios": ["ScenariosPanel"],
        "training.score": ["ScorePanel"],
        "training.settings": ["SettingsPanel"],
        "training.training": ["TrainingPanel"],
        "parts.values": [
            "Centrelines",
            "ChosenModel",
            "Compared",
            "Corrected",
            "Data",
            "Patient",
            "Task",
            "Trained",
        ],
        "parts.viewer": ["SliceViewer"],
    },
)

speak_plainly()
