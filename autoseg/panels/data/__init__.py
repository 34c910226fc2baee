"""Panels that show images and labels before training."""
