"""Panels for a new patient: predict, look, measure, correct."""
