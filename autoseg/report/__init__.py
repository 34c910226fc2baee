"""What is shown and written: tables of areas, the files of a run, figures and animations."""
