"""Images, label maps and structures: objects that are valid once built, and where their voxels lie in the body."""
