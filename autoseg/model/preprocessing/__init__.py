"""From an image to the network's grid and back: resampling, intensities, regions and variations."""
