"""How models and unfinished trainings lie in files: every byte is accounted for, and nothing is ever executed."""
