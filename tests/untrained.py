"""A model that never learnt anything: enough wherever the way is tested and not the result, and made at once."""

import torch

from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import ChosenModel

STRUCTURES = (Structure(1, "cavity"), Structure(2, "myocardium"))


def untrained_model(*, spacing_mm=6.0, channels=("image",), **changes):
    """Give a small network with random weights that draws both structures somewhere."""
    network = NetworkSettings(filters=(4, 8, 16))
    torch.manual_seed(3)
    weights = build_network(network, in_channels=len(channels), out_channels=3).state_dict()
    settings = Settings(network=network, preprocess=PreprocessSettings(spacing_mm=spacing_mm))
    return TrainedModel("heart", settings, STRUCTURES, channels, weights, **changes)


class Fixed(Panel):
    """A panel whose value is given: what stands above in a notebook."""

    def __init__(self, value=None):
        super().__init__()
        self.value = value


def chosen_model(folder, **changes):
    return ChosenModel(untrained_model(**changes), folder / "heart.pt")
