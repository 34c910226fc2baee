"""Segmenting a new patient's image, on the image's own grid, with one model or the mean of several."""

from autoseg.prediction.centreline import cut_off_note, find_centreline, find_probability, own_centreline
from autoseg.prediction.predict import predict, predict_probabilities

__all__ = [
    "cut_off_note",
    "find_centreline",
    "find_probability",
    "own_centreline",
    "predict",
    "predict_probabilities",
]
