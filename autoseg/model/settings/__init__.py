"""Every setting of a training: its kind, range, unit and what it does."""
