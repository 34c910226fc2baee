"""Networks for segmentation, chosen by name in the settings; `build_network` is the one place that builds."""

from autoseg.model.networks.build import (
    NETWORKS,
    USUAL_NETWORKS,
    build_network,
    network_sizes,
    network_to_load,
    standardised,
    stride_of,
)
from autoseg.model.networks.outputs import Outputs, begin, deepest_of, learn, part_of, parts_of, strides_of
