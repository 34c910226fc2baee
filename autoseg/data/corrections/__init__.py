"""Labels out to ITK-SNAP, 3D Slicer and FSLeyes, corrected by hand, and back to learn from."""
