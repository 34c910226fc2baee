"""Folders of cases: paired, read, checked, corrected, and split by subject."""
