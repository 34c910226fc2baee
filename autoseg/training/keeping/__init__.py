"""What keeps a training's results: one program at a time, room on the disk, another folder where one fails."""
