"""Segmenting a new patient's image, on the image's own grid, with one model or the mean of several."""

from autoseg.prediction.predict import predict, predict_probabilities

__all__ = ["predict", "predict_probabilities"]
