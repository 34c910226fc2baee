"""PNG, JPEG and TIFF, as images and as labels."""
