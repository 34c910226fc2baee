"""Panels that plan, run and judge a training."""
