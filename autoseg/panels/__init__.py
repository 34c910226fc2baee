"""The notebooks' panels: the only place that knows ipywidgets, anywidget and IPython.

A panel shows what the public functions give and calls them at a click; it decides nothing itself. Importing this
lets a notebook say in plain words what goes wrong.
"""

import lazy_loader

from autoseg.panels.notebook import speak_plainly

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "area_table": ["AreaTable"],
        "areas": ["AreasPanel"],
        "base": ["BasePanel"],
        "best": ["BestPanel"],
        "centreline": ["CentrelinePanel"],
        "chooser": ["FolderChooser"],
        "comparing": ["ComparingPanel"],
        "comparison": ["ComparisonPanel"],
        "computer": ["ComputerPanel"],
        "contestants": ["ContestantsPanel"],
        "corrections": ["CorrectionsPanel"],
        "data": ["DataPanel"],
        "expert": ["ExpertPanel"],
        "models": ["ModelPanel"],
        "morphometry": ["MorphometryPanel"],
        "output": ["OutputPanel"],
        "panel": ["Panel"],
        "patient": ["PatientPanel"],
        "prediction": ["PredictionPanel"],
        "preview": ["PreviewPanel"],
        "score": ["ScorePanel"],
        "settings": ["SettingsPanel"],
        "training": ["TrainingPanel"],
        "values": [
            "Centrelines",
            "ChosenModel",
            "Compared",
            "Contest",
            "Corrected",
            "Data",
            "Patient",
            "Task",
            "Trained",
        ],
        "viewer": ["SliceViewer"],
        "ways": ["WaysPanel"],
    },
)

speak_plainly()
