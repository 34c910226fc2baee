"""NIfTI: volumes, and label files on their own grids."""
