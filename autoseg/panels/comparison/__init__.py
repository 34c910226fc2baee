"""Panels that compare networks, settings and scenarios of fine-tuning."""
