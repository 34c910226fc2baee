"""Numbers from labels, without torch: areas, scores, surfaces, statistics, shape along a structure."""
