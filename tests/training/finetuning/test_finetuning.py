"""Fine-tuning: what is frozen stays to the last bit, phases, rates, going on, and honest validation."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from discs import STRUCTURES, make_case, make_pair, make_split, patch_reading, quick_settings

from autoseg.data.digests import known_subjects, subject_pseudonym
from autoseg.data.split import Split, subjects_of
from autoseg.errors import DataError, ModelFileError, SettingsError
from autoseg.image.structures import Structure
from autoseg.model.model import load_model, model_digest, save_model
from autoseg.model.networks import build_network, part_of, parts_of
from autoseg.model.settings.settings import NetworkSettings, Settings, VolumeSettings
from autoseg.prediction import predict
from autoseg.training.checkpoint import read_checkpoint, write_checkpoint
from autoseg.training.finetuning import check_base, settings_from_base, split_for_base
from autoseg.training.finetuning.base import knows_validation
from autoseg.training.step import build_optimizer, set_learning_rate
from autoseg.training.training import train

BATCH = NetworkSettings(filters=(4, 8, 16), norm="batch", dropout=0.1)
OTHERS = make_split(range(30, 33), [34])
PLAIN = {"schedule": "constant", "warmup_fraction": 0.0, "average_decay": 0.0}


@pytest.fixture(scope="module")
def base():
    """A model of two structures that has learnt from subjects 0 to 2 and was validated on subject 3."""
    with pytest.MonkeyPatch.context() as patch:
        patch_reading(patch)
        settings = quick_settings(epochs=2, network=BATCH)
        return train(make_split(range(3), [3]), settings, structures=STRUCTURES, name="heart")


@pytest.fixture(autouse=True)
def reading(monkeypatch):
    patch_reading(monkeypatch)


def tune(base, *, split=OTHERS, structures=STRUCTURES, on_epoch=None, **changes):
    settings = settings_from_base(base, **{"epochs": 2, "learning_rate": 1e-3, **changes})
    return train(split, settings, structures=structures, name="tuned", base=base, on_epoch=on_epoch)


def changed_parts(before, after, network):
    """Tell which parts have a tensor that is another, averages of batch normalisation counted."""
    return {part_of(network, key) for key in before if not torch.equal(before[key], after[key])}


# --- settings


def test_settings_are_the_bases_with_what_was_found_good(base):
    settings = settings_from_base(base, epochs=7, **{"finetune.frozen": (), "preprocess.clahe": True})
    assert settings.network == base.settings.network
    assert settings.preprocess == replace(base.settings.preprocess, clahe=True)
    assert (settings.learning_rate, settings.batch_size, settings.epochs) == (1e-5, 5, 7)
    assert (settings.schedule, settings.plateau_epochs, settings.drop_factor) == ("plateau", 10, 0.5)
    assert settings.finetune.frozen == ()
    assert settings_from_base(base).finetune.frozen == ("contraction",)
    assert settings_from_base(base).epochs == 100
    assert (settings_from_base(base, minutes=3).epochs, settings_from_base(base, minutes=3).minutes) == (None, 3)
    with pytest.raises(SettingsError, match="no setting 'colour'"):
        settings_from_base(base, colour=3)


def test_a_base_trained_by_sgd_goes_on_with_adamw(base):
    sgd = replace(base, settings=replace(base.settings, optimizer="sgd", weight_decay=3e-5))
    settings = settings_from_base(sgd)
    assert (settings.optimizer, settings.weight_decay) == ("adamw", Settings().weight_decay)
    muon = replace(base, settings=replace(base.settings, optimizer="muon", weight_decay=0.02))
    settings = settings_from_base(muon)
    assert (settings.optimizer, settings.weight_decay) == ("adamw", 0.02)


# --- what rests and what learns


def test_frozen_parts_stay_to_the_last_bit_and_the_others_learn(base):
    network = base.build()
    assert changed_parts(base.weights, tune(base).weights, network) == {"bottleneck", "expansion", "tail"}
    frozen = {"finetune.frozen": ("bottleneck", "tail")}
    assert changed_parts(base.weights, tune(base, **frozen).weights, network) == {"contraction", "expansion"}
    none = tune(base, **{"finetune.frozen": ()})
    assert changed_parts(base.weights, none.weights, network) == set(parts_of(network))


def test_it_begins_where_the_base_ended(base):
    still = tune(base, learning_rate=1e-9, **{"finetune.frozen": ("contraction", "bottleneck", "expansion")})
    image, _ = make_pair(40)
    assert (predict(still, image).voxels == predict(base, image).voxels).all()
    assert (predict(base, image).voxels > 0).any()


def test_frozen_layers_get_no_gradient(base, monkeypatch):
    from autoseg.training.step import Step

    real, seen = Step.update, []

    def update(step, learning_rate):
        modes = {name: module.training for name, module in step.network.named_modules() if "norm" in name}
        seen.append(({key for key, p in step.network.named_parameters() if p.grad is not None}, modes))
        real(step, learning_rate)

    monkeypatch.setattr(Step, "update", update)
    tune(base, epochs=1)
    names = parts_of(base.build())
    with_gradient, modes = seen[-1]
    assert with_gradient == {*names["bottleneck"], *names["expansion"], *names["tail"]}
    assert {part_of(base.build(), name) for name, training in modes.items() if not training} == {"contraction"}
    assert {part_of(base.build(), name) for name, training in modes.items() if training} == {
        "bottleneck",
        "expansion",
    }


def test_phases_free_parts_one_after_the_other_each_at_its_rate(base):
    weights = [base.weights]
    phases = (("contraction+bottleneck+expansion", 1e-3, 2), ("contraction", 1e-4, 2), ("none", 1e-5, 1))
    tuned = tune(
        base,
        epochs=5,
        on_epoch=lambda result, best, last: weights.append(last.weights) and None,
        **PLAIN,
        **{"finetune.phases": phases},
    )
    assert [row.phase for row in tuned.history] == [1, 1, 2, 2, 3]
    assert [row.learning_rate for row in tuned.history] == [1e-3, 1e-3, 1e-4, 1e-4, 1e-5]
    network = base.build()
    steps = [changed_parts(one, two, network) for one, two in pairwise(weights)]
    later = {"bottleneck", "expansion", "tail"}
    assert steps == [{"tail"}, {"tail"}, later, later, {"contraction", *later}]


def test_the_rate_falls_on_a_plateau_of_its_own_phase(base, monkeypatch):
    from autoseg.training import training

    real = training.evaluate_slices
    monkeypatch.setattr(training, "evaluate_slices", lambda *a, **k: replace(real(*a, **k), mean_dice=0.5))
    tuned = tune(
        base,
        epochs=7,
        plateau_epochs=2,
        warmup_fraction=0.0,
        **{"finetune.phases": (("contraction", 1e-3, 4), ("none", 1e-4, 3))},
    )
    # The first score of a phase is a gain; two without one later the rate is halved.
    assert [row.learning_rate for row in tuned.history] == [1e-3, 1e-3, 1e-3, 5e-4, 1e-4, 1e-4, 1e-4]


def test_patience_ends_the_last_phase_only(base):
    tuned = tune(
        base,
        epochs=12,
        learning_rate=1e-9,
        patience=1,
        best_by="dice",
        **{"finetune.phases": (("contraction", 1e-9, 4), ("none", 1e-9, 8)), "average_decay": 0.0},
    )
    assert [row.phase for row in tuned.history][:5] == [1, 1, 1, 1, 2]
    assert len(tuned.history) < 12


def test_each_part_learns_at_its_own_rate():
    """Adam's first step is the learning rate, whatever the gradient: by hand for each group."""
    network = build_network(NetworkSettings(filters=(4, 8)), in_channels=1, out_channels=2)
    before = {key: value.detach().clone() for key, value in network.named_parameters()}
    groups = {key: part_of(network, key) for key in before}
    settings = Settings(optimizer="adam", weight_decay=0.0)
    optimizer = build_optimizer(network, settings, torch.device("cpu"), groups=groups)
    network(torch.randn(2, 1, 16, 16)).square().mean().backward()
    set_learning_rate(optimizer, 1e-3, {"contraction": 0.1, "tail": 10.0})
    optimizer.step()
    for key, value in network.named_parameters():
        rate = {"contraction": 1e-4, "tail": 1e-2}.get(groups[key], 1e-3)
        assert float((value.detach() - before[key]).abs().max()) == pytest.approx(rate, rel=1e-3), key


def one_step(base, **changes):
    """Give the largest change of each part in a training of a single step."""
    split = make_split([30])
    options = {"optimizer": "adam", "weight_decay": 0.0, "gradient_clip": float("inf"), **PLAIN}
    tuned = tune(base, split=split, epochs=1, learning_rate=1e-4, **options, **changes)
    steps = {}
    for part, names in parts_of(base.build()).items():
        steps[part] = max(float((tuned.weights[n] - base.weights[n]).abs().max()) for n in names)
    return steps, tuned


def test_discriminative_rates_reach_the_steps(base):
    steps, _ = one_step(base, **{"finetune.frozen": (), "finetune.rates": (("contraction", 0.1), ("tail", 5.0))})
    wanted = {"contraction": 1e-5, "bottleneck": 1e-4, "expansion": 1e-4, "tail": 5e-4}
    assert steps == pytest.approx(wanted, rel=0.02)


def test_what_is_new_learns_at_the_usual_rate_even_in_a_frozen_part(base):
    first, second = (
        tune(
            base,
            split=make_split([30]),
            epochs=epochs,
            learning_rate=1e-4,
            optimizer="adam",
            weight_decay=0.0,
            **PLAIN,
            **{"finetune.frozen": ("contraction", "tail"), "finetune.replaced": ("tail",)},
        )
        for epochs in (1, 2)
    )
    assert first.origin["base"]["new"] == ["tail.weight", "tail.bias"]
    step = (second.weights["tail.weight"] - first.weights["tail.weight"]).abs().max()
    assert 2e-4 < float(step) < 3e-3
    network = base.build()
    assert changed_parts(base.weights, second.weights, network) == {"bottleneck", "expansion", "tail"}
    assert "What begins anew learns, though its part is frozen" not in " ".join(first.origin["notes"])
    other = tune(
        base, epochs=1, structures=(Structure(1, "core"), Structure(5, "rim")), **{"finetune.frozen": "tail"}
    )
    assert other.origin["notes"][-1] == "What begins anew learns, though its part is frozen: in the tail."


def test_a_new_structure_is_learnt_beside_one_that_is_known(monkeypatch):
    """The core is known under another label, the rim is new; four slices, 20 steps."""
    known = train(make_split(range(8)), quick_settings(epochs=8), structures=STRUCTURES)
    new = (Structure(1, "rim"), Structure(5, "core"))

    def renamed(case, structures):
        image, label_map = make_pair(int(case.case_id.removeprefix("case")))
        swapped = label_map.voxels.copy()
        swapped[label_map.voxels == 1], swapped[label_map.voxels == 5] = 5, 1
        return image, replace(label_map, voxels=swapped, structures=new)

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", renamed)
    split = make_split([30, 31], [34])
    changes = {"epochs": 10, "batch_size": 2, "learning_rate": 1e-3, "schedule": "constant"}
    settings = settings_from_base(known, **changes, **{"finetune.new_learning_rate": 1e-2})
    tuned = train(split, settings, structures=new, base=known)
    scratch = train(split, quick_settings(epochs=1, batch_size=2), structures=new)
    assert tuned.origin["base"]["new"] == ["tail.weight", "tail.bias"]
    assert tuned.history[0].dice[1] > scratch.history[0].dice[1] + 0.2
    assert min(tuned.history[-1].dice) > 0.7


def test_what_is_replaced_does_not_begin_where_the_base_began(base):
    """Both are drawn with the seed of the settings, which a base's settings keep."""
    torch.manual_seed(base.settings.seed)
    first = build_network(base.settings.network, in_channels=1, out_channels=3).state_dict()
    taken = tune(
        base,
        learning_rate=1e-9,
        **PLAIN,
        **{"finetune.replaced": ("tail",), "finetune.frozen": ("bottleneck",), "finetune.new_learning_rate": 1e-9},
    )
    assert not torch.allclose(taken.weights["tail.weight"], first["tail.weight"], atol=1e-2)
    assert not torch.allclose(taken.weights["tail.weight"], base.weights["tail.weight"], atol=1e-2)


def test_volumes_are_fine_tuned_too():
    network = NetworkSettings(name="shallow", filters=(4, 4, 4, 8, 4, 4))
    volume = VolumeSettings(spacing_mm=(6.0, 6.0, 8.0), patch_size=(8, 8, 2))
    settings = quick_settings(spatial_dims=3, volume=volume, network=network, epochs=1)
    base = train(make_split([0], [1]), settings, structures=STRUCTURES)
    tuned = tune(base, epochs=1, **{"volume.spacing_mm": (5.0, 5.0, 8.0)})
    assert changed_parts(base.weights, tuned.weights, base.build()) == {"bottleneck", "expansion", "tail"}
    assert "volume.spacing_mm (6, 6, 8 there, 5, 5, 8 here)" in tuned.origin["notes"][0]
    image, _ = make_pair(40)
    assert predict(tuned, image).shape == image.shape


# --- what a model keeps of its base, and whom it knows


def test_the_base_is_written_into_the_model(base, tmp_path):
    tuned = load_model(save_model(tune(base, epochs=1), tmp_path / "tuned.pt"))
    record = tuned.origin["base"]
    assert (record["name"], record["digest"], record["structures"]) == (
        "heart",
        model_digest(base),
        ["core", "ring"],
    )
    assert record["base"] is None
    assert recognised(tuned, "subject_fingerprints") == {0, 1, 2, 3, 30, 31, 32, 34}
    assert tuned.origin["training_subjects"] == 3
    assert recognised(tuned, "learnt_fingerprints") == {0, 1, 2, 30, 31, 32}
    again = tune(tuned, split=make_split([50], [51]), epochs=1)
    assert again.origin["base"]["base"]["name"] == "heart"
    assert recognised(again, "subject_fingerprints") == {0, 1, 2, 3, 30, 31, 32, 34, 50, 51}


def recognised(model, which):
    """Tell whom of the first hundred made-up subjects a model recognises."""
    names = {f"subject{n}": n for n in range(100)}
    return {names[subject] for subject in known_subjects(names, model.origin[which])}


def test_a_digest_is_of_what_a_model_answers(base):
    assert model_digest(base) == model_digest(replace(base, name="other", history=()))
    key = "tail.bias"
    moved = {**base.weights, key: base.weights[key] + 1e-6}
    others = (
        replace(base, weights=moved),
        replace(base, structures=(Structure(1, "core"), Structure(5, "rim"))),
        replace(base, channels=("t2",)),
        replace(base, finder=base),
    )
    assert len({model_digest(base), *map(model_digest, others)}) == 5


def test_a_validation_on_whom_the_base_learnt_from_is_refused(base):
    with pytest.raises(DataError, match=r"'heart' has learnt from subject2, who validate here: the valid"):
        tune(base, split=make_split([30], [2]))
    split = replace(make_split([30], [31]), test=(make_case(3),))
    with pytest.raises(DataError, match=r"has learnt from subject3, or was validated"):
        tune(base, split=split)
    finder = replace(base, origin={"subject_fingerprints": [subject_pseudonym("subject30")]})
    split = replace(make_split([31], [32]), test=(make_case(30),))
    check_base(base, split, base.settings)
    with pytest.raises(DataError, match=r"has learnt from subject30"):
        check_base(replace(base, finder=finder), split, base.settings)
    # Those may be learnt from again.
    assert tune(base, split=make_split([0, 30], [31]), epochs=1).history


def test_a_validation_on_whom_the_base_was_validated_is_told(base):
    tuned = tune(base, split=make_split([30], [3]), epochs=1)
    told = "The base model 'heart' was validated on this validation patient, too"
    assert tuned.origin["notes"][0].startswith(told)
    assert "subject3" not in str(tuned.origin)  # the model's file keeps it


def test_of_several_who_chose_the_bases_epoch_it_tells_how_many(base):
    words = "was validated on 1 of these 2 validation patients, too: it did not learn from it, but some of it"
    assert words in knows_validation(base, make_split([30], [3, 31]))[0]
    assert knows_validation(base, make_split([30], [31])) == []


def test_an_older_base_counts_everybody_as_learnt_from(base):
    older = replace(base, origin={k: v for k, v in base.origin.items() if k != "learnt_fingerprints"})
    with pytest.raises(DataError, match=r"learnt from subject3, who validate"):
        tune(older, split=make_split([30], [3]))


def test_validation_subjects_are_drawn_among_those_that_the_base_did_not_learn_from(base):
    cases = [make_case(n) for n in range(8)]
    split = split_for_base(base, cases, seed=1)
    assert set(subjects_of(split.validation)) <= {f"subject{n}" for n in range(3, 8)}
    assert {"subject0", "subject1", "subject2"} <= set(subjects_of(split.training))
    assert len(split.training) + len(split.validation) == 8
    alone = split_for_base(base, cases[:4])
    assert (subjects_of(alone.validation), len(alone.training), alone.note) == (("subject3",), 3, "")
    tested = split_for_base(base, cases, test_subjects=["subject0", "subject7"])
    assert subjects_of(tested.test) == ("subject0", "subject7")
    assert "subject0" not in subjects_of(tested.training)
    chosen = split_for_base(base, cases, validation_subjects=["subject1"])
    assert subjects_of(chosen.validation) == ("subject1",)
    with pytest.raises(DataError, match="has learnt from every patient here"):
        split_for_base(base, cases[:3])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spatial_dims": 3}, r"spatial_dims is 3 and the base model 'heart' was trained with 2"),
        (
            {"network": NetworkSettings("resunet")},
            r"network.name is 'resunet' and the base model 'heart' is a 'unet'",
        ),
    ],
)
def test_another_kind_of_network_is_refused_before_anything_is_read(base, change, words, monkeypatch):
    monkeypatch.setattr("autoseg.model.dataset.build.read_case", None)
    with pytest.raises(SettingsError, match=words):
        train(OTHERS, replace(settings_from_base(base), **change), structures=STRUCTURES, base=base)


# --- going on


PHASES = {"finetune.phases": (("contraction", 1e-3, 2), ("none", 1e-4, 2))}


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_a_fine_tuning_that_was_stopped_goes_on_bit_for_bit(base, after, optimizer, tmp_path):
    structures = (Structure(1, "core"), Structure(5, "rim"))
    changes = {"epochs": 4, "optimizer": optimizer, "momentum": 0.9, "weight_decay": 1e-4, **PHASES}
    settings = settings_from_base(base, **changes)
    taken = []
    whole = train(
        OTHERS,
        settings,
        structures=structures,
        base=base,
        on_checkpoint=lambda take, stopped: taken.append(take()),
    )
    checkpoint = read_checkpoint(write_checkpoint(taken[after - 1], tmp_path / "one_resume.pt"))
    # Another seed before, and without the base: all that it took from there is in the checkpoint.
    torch.manual_seed(99)
    resumed = train(OTHERS, Settings(), structures=structures, resume=checkpoint)
    assert all(torch.equal(value, whole.weights[key]) for key, value in resumed.weights.items())
    assert [(r.training_loss, r.learning_rate, r.phase) for r in resumed.history] == [
        (r.training_loss, r.learning_rate, r.phase) for r in whole.history
    ]
    assert resumed.origin["base"] == whole.origin["base"]
    assert resumed.origin["notes"] == whole.origin["notes"]


def test_a_resumed_training_of_another_base_is_refused(base):
    taken = []
    arguments = {"structures": STRUCTURES, "on_checkpoint": lambda take, stopped: taken.append(take())}
    train(OTHERS, settings_from_base(base, epochs=1), base=base, name="one", **arguments)
    train(OTHERS, quick_settings(epochs=1), name="two", **arguments)
    tuned, scratch = taken
    other = replace(base, channels=("t2",))
    with pytest.raises(DataError, match=r"'one' was begun from the base model 'heart', and another one is given"):
        train(OTHERS, Settings(), structures=STRUCTURES, resume=tuned, base=other)
    with pytest.raises(DataError, match=r"'two' was begun without a base model, and 'heart' is given now"):
        train(OTHERS, Settings(), structures=STRUCTURES, resume=scratch, base=base)
    assert train(OTHERS, Settings(), structures=STRUCTURES, resume=tuned, base=base).history


def test_a_base_that_is_missing_or_damaged_is_said(base, tmp_path):
    with pytest.raises(ModelFileError, match="is not there"):
        load_model(tmp_path / "none.pt")
    path = save_model(base, tmp_path / "heart.pt")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelFileError, match=r"heart.pt"):
        load_model(path)


def test_same_seed_same_weights(base):
    one, two = (tune(base, epochs=1) for _ in range(2))
    assert all(torch.equal(one.weights[key], two.weights[key]) for key in one.weights)
    assert isinstance(OTHERS, Split)
