"""Which label file belongs to which image: by names, contents, series, contours and tables."""
