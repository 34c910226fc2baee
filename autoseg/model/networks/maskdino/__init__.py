"""Mask DINO: structures found by queries, each with a class, a box and a mask."""
