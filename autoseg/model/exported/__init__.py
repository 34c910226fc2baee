"""A model for other programs: its network as ONNX, everything around it in JSON, and a reader without autoseg."""

from autoseg.model.exported.write import check_exportable, write_onnx
