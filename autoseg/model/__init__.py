"""What a model is: its settings, network, grid and data set, and the file that holds it all."""
