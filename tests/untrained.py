"""A model that never learnt anything: enough wherever the way is tested and not the result, and made at once."""

from dataclasses import asdict, replace

import torch

from autoseg.image.structures import Structure
from autoseg.model.model import EpochResult, TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings
from autoseg.model.trust import Profile, Trust
from autoseg.model.trust.facts import ImageFacts
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import ChosenModel

# What a model learnt from that knows pixels of 9 mm alone: an image of 4 mm or less is red, by its header.
OF_9_MM = Trust(profile=Profile(1, 0, (16, 16), images=(asdict(ImageFacts(pixel_mm=(9.0, 9.0))),)))
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


ORIGIN = {
    **{"training_subjects": 9, "validation_subjects": 2, "training_slices": 1234},
    **{"ended": "it was stopped", "ended_by": "stopped"},
}


def made_up_model(name="thigh", day="2026-03-02", epochs=3, best=2, **changes):
    settings = Settings(network=NetworkSettings(filters=(4, 8)), preprocess=PreprocessSettings(spacing_mm=0.75))
    rows = [EpochResult(n, 1 / n, 1e-3, n, 0, 0.5, n / 10, (n / 10, None)) for n in range(1, epochs + 1)]
    model = TrainedModel(
        name=name,
        settings=settings,
        structures=(Structure(1, "psoas", side="left"), Structure(2, "gracilis")),
        channels=("T1w",),
        weights=build_network(settings.network, in_channels=1, out_channels=3).state_dict(),
        history=tuple(rows),
        best_epoch=best,
        origin={**ORIGIN, "date": f"{day}T10:00:00+00:00"},
    )
    return replace(model, **changes)


def unfinished(model):
    return replace(model, origin={key: value for key, value in model.origin.items() if not key.startswith("ended")})
