"""Segmenting a new patient's image, on the image's own grid, with one model or the mean of several."""

from autoseg.prediction.centreline import find_centreline, find_probability
from autoseg.prediction.predict import predict, predict_probabilities

__all__ = ["find_centreline", "find_probability", "predict", "predict_probabilities"]
