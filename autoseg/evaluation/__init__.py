"""How good is a model: cross-validation, comparison, an expert's labels, and what to do about it."""
