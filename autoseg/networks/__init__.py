"""Networks for segmentation, chosen by name in the settings; `build_network` is the one place that builds."""

from autoseg.networks.build import NETWORKS, NetworkKind, build_network, standardised, stride_of
from autoseg.networks.outputs import Outputs, learn, strides_of

__all__ = [
    "NETWORKS",
    "NetworkKind",
    "Outputs",
    "build_network",
    "learn",
    "standardised",
    "stride_of",
    "strides_of",
]
