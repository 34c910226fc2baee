"""Pages to print and to publish: what stands in them (`document`), as a web page, and as a PDF by `figures.pdf`."""
