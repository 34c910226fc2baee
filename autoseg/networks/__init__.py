"""Networks for segmentation, chosen by name in the settings; `build_network` is the one place that builds."""

from autoseg.networks.build import NETWORKS, build_network

__all__ = ["NETWORKS", "build_network"]
