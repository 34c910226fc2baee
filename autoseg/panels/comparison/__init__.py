"""Panels that compare networks, settings and ways of fine-tuning."""
