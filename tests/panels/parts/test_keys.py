"""Every panel keeps its keys to itself (tests/browser/test_keys.py tries them)."""

from autoseg.panels.parts.panel import OwnKeys, Panel


def test_every_panel_keeps_its_keys():
    panel = Panel()
    assert "autoseg-panel" in panel._dom_classes
    assert any(isinstance(child, OwnKeys) for child in panel.children)
