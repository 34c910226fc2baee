"""Segmenting a new patient's image, on the image's own grid, with one model or the mean of several."""

from autoseg.prediction.centreline import cut_off_note, find_centreline, find_probability, own_centreline
from autoseg.prediction.predict import Predicted, predict, predict_and_look, predict_probabilities

__all__ = [
    "Predicted",
    "cut_off_note",
    "find_centreline",
    "find_probability",
    "own_centreline",
    "predict",
    "predict_and_look",
    "predict_probabilities",
]
