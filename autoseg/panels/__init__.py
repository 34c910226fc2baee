"""The notebooks' panels: the only place that knows ipywidgets, anywidget and IPython.

A panel shows what the public functions give and calls them at a click; it decides nothing itself.
"""
