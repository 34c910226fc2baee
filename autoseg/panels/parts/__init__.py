"""What panels are made of: the base, background work, choosers, the viewer and the table of areas."""
