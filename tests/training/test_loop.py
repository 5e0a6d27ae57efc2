"""The trainer: what it leaves, that it resumes as if it had never stopped, and that it learns."""

from __future__ import annotations

import pytest
import torch

from tests.factories import chirps
from tests.training.parts import PUBLISHED, SMALL, WEIGHTS, logged, packed, recipe, teacher_targets, trainer
from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.training.loop import learning_rate
from uniaudio_cli.training.recipe import DiscriminatorSettings, ValidationSettings

EVERYTHING = {
    **WEIGHTS,
    "time": 1.0,
    "subband": 1.0,
    "cycle": 0.5,
    "adversarial": 1.0,
    "feature_matching": 1.0,
    "units": 0.5,
    "consistency": 0.5,
    "semantic": 0.5,
}
TEACHERS = {"speech_teacher": "loudness", "consistency_dim": 3, "unit_dim": 4, "text_teacher": "lengths"}
JUDGED = DiscriminatorSettings(hops=(64, 256), channels=(4, 4), start=1)


def full(cache, **changes):
    """A recipe with every loss there is, twice accumulated, now and then on spoiled input."""
    switches = {"losses": EVERYTHING, "discriminators": JUDGED, "gradient_accumulation": 2, "degrade_probability": 0.5}
    return recipe(cache, **{**switches, **TEACHERS, **changes})


def test_a_run_leaves_a_codec_losses_samples_and_a_state(tmp_path):
    clips = packed(tmp_path)
    settings = full(tmp_path / "cache", validation=ValidationSettings(every=2, batches=1, samples=1))
    trainer(settings, clips, tmp_path / "run", teacher_targets(settings, clips)).run()
    rows = logged(tmp_path / "run")
    train = [row for row in rows if row["split"] == "train"]
    assert [row["step"] for row in train] == [1, 2, 3, 4]
    assert set(train[-1]) - {"step", "split", "gradient", "discriminators"} == set(EVERYTHING)
    # The discriminators start at step 1.
    assert "adversarial" not in train[0]
    assert "adversarial" in train[1]
    validation = [row for row in rows if row["split"] == "validation"]
    assert [row["step"] for row in validation] == [2, 4]
    assert 0 <= validation[0]["unit_accuracy"] <= 1
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"state.pt", "tiny.safetensors", "tiny.json", "tiny-best.safetensors", "samples"}
    samples = {path.name for path in (tmp_path / "run" / "samples").iterdir()}
    assert samples >= {"00-original.wav", "00-step-000002.wav", "00-step-000004.png"}
    codec = load_codec(tmp_path / "run" / "tiny.safetensors")
    assert codec.decode(codec.encode(torch.zeros(1, 1, 16_000) + 0.1)).isfinite().all()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"bfloat16": True}, marks=pytest.mark.slow),
        pytest.param({"ema_decay": 0.5}, marks=pytest.mark.slow),
        pytest.param(
            {"codec": {**SMALL, "coarse_encoder": SMALL["encoder"]}, "trainable": "fine"}, marks=pytest.mark.slow
        ),
        pytest.param({"codec": PUBLISHED, "discriminators": None, "losses": WEIGHTS}, marks=pytest.mark.slow),
    ],
    ids=["small, every loss", "bfloat16", "the mean of the weights", "all but level 0's own encoder", "published"],
)
def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(tmp_path, changes):
    clips = packed(tmp_path)
    settings = full(tmp_path / "cache", **changes)
    targets = teacher_targets(settings, clips)
    trainer(settings, clips, tmp_path / "whole", targets).run()

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.step == 3:  # after the state of step 2
            raise Stop

    with pytest.raises(Stop):
        trainer(settings, clips, tmp_path / "parts", targets).run(stop)
    again = trainer(settings, clips, tmp_path / "parts", targets)
    again.resume()
    assert again.step == 2
    again.run()
    whole, parts = logged(tmp_path / "whole"), logged(tmp_path / "parts")
    assert parts[3:] == whole[2:]
    first, second = (load_codec(tmp_path / run / "tiny.safetensors").state_dict() for run in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_training_brings_the_spectra_closer(tmp_path):
    clips = packed(tmp_path)
    trainer(recipe(tmp_path / "cache", steps=30, learning_rate=3e-3), clips, tmp_path / "run").run()
    losses = [row["mel"] for row in logged(tmp_path / "run") if row["split"] == "train"]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_a_batch_with_a_gradient_that_is_no_number_changes_nothing(tmp_path):
    clips = packed(tmp_path)
    run = trainer(recipe(tmp_path / "cache"), clips, tmp_path / "run")
    before = {name: value.clone() for name, value in run.module.state_dict().items()}
    run.recipe = run.recipe.model_copy(update={"losses": {**WEIGHTS, "mel": float("nan")}})
    run._one_step()
    assert all(torch.equal(before[name], value) for name, value in run.module.state_dict().items())


def test_codebooks_stay_frozen(tmp_path):
    clips = packed(tmp_path)
    run = trainer(recipe(tmp_path / "cache", steps=2), clips, tmp_path / "run")
    before = [level.codebook.weight.clone() for level in run.module.codec.quantizer.levels()]
    run.run()
    after = [level.codebook.weight for level in run.module.codec.quantizer.levels()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


OWN = {**SMALL, "coarse_encoder": SMALL["encoder"]}


def learned(run) -> set[str]:
    """The weights of the codec that a run changes."""
    before = {name: value.clone() for name, value in run.module.codec.state_dict().items()}
    run.run()
    return {name for name, value in run.module.codec.state_dict().items() if not torch.equal(value, before[name])}


def test_an_encoder_of_level_0_trained_alone_learns_units_and_leaves_the_rest(tmp_path):
    clips = packed(tmp_path)
    settings = recipe(
        tmp_path / "cache",
        **{"codec": OWN, "trainable": "coarse", "losses": {"units": 1.0, "consistency": 0.5}, "steps": 60},
        **{"speech_teacher": "loudness", "consistency_dim": 3, "unit_dim": 4, "vtlp": 0.1, "degrade_probability": 0.3},
        **{"learning_rate": 3e-3, "save_every": 60, "validation": ValidationSettings(every=60, batches=1)},
    )
    run = trainer(settings, clips, tmp_path / "run", teacher_targets(settings, clips))
    changed = learned(run)
    assert {name.split(".")[0] for name in changed} == {"coarse_encoder", "quantizer"}
    assert {name for name in changed if "quantizer" in name} == {
        f"quantizer.quantizers.0.cb_proj.{part}" for part in ("weight", "bias")
    }
    *train, validation = logged(tmp_path / "run")
    assert train[-1]["units"] < 0.7 * train[0]["units"]
    assert 0 <= validation["unit_accuracy"] <= 1
    assert "mel" not in validation
    assert load_codec(tmp_path / "run" / "tiny-best.safetensors").config.coarse_encoder


@pytest.mark.parametrize(
    ("trainable", "parts"), [("fine", {"encoder", "decoder", "quantizer"}), ("codes", {"encoder", "quantizer"})]
)
def test_what_is_trained_beside_it_leaves_the_codes_of_level_0(tmp_path, trainable, parts):
    clips, wav = packed(tmp_path), chirps(16_000)
    losses = {**WEIGHTS, "cycle": 1.0}
    settings = recipe(tmp_path / "cache", codec=OWN, trainable=trainable, learning_rate=1e-2, losses=losses)
    run = trainer(settings, clips, tmp_path / "run")
    before = run.module.codec.encode(wav)
    changed = learned(run)
    assert {name.split(".")[0] for name in changed} == parts
    assert not any("quantizers.0" in name for name in changed)
    after = run.module.codec.encode(wav)
    assert torch.equal(before[0], after[0])
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_decoder_trained_alone_leaves_all_codes_as_they_are(tmp_path):
    clips = packed(tmp_path)
    losses = {"mel": 2.0, "loudness": 0.5, "envelope": 1.0, "cycle": 1.0}
    settings = recipe(tmp_path / "cache", steps=3, trainable="decoder", losses=losses, learning_rate=1e-3)
    run = trainer(settings, clips, tmp_path / "run")
    changed = learned(run)
    assert changed
    assert all(name.startswith("decoder.") for name in changed)
    assert set(logged(tmp_path / "run")[0]) >= set(losses)


def test_what_is_written_is_the_running_mean_of_the_weights(tmp_path):
    clips = packed(tmp_path)
    run = trainer(recipe(tmp_path / "cache", steps=3, ema_decay=0.75, save_every=3), clips, tmp_path / "run")
    steps = []

    def keep(progress):
        steps.append(run.module.codec.encoder.out.weight.detach().clone())

    run.run(keep)
    expected = steps[0]
    for weight in steps[1:]:
        expected = 0.75 * expected + 0.25 * weight
    written = load_codec(tmp_path / "run" / "tiny.safetensors").encoder.out.weight
    assert torch.allclose(written, expected, atol=1e-6)
    assert not torch.allclose(written, steps[-1], atol=1e-6)


def test_the_learning_rate_warms_up_stays_and_decays(tmp_path):
    settings = recipe(tmp_path, steps=100, warmup_steps=10, decay_fraction=0.2)
    assert learning_rate(settings, 0) == pytest.approx(0.1)
    assert [learning_rate(settings, step) for step in (9, 50, 80)] == [1.0, 1.0, 1.0]
    assert learning_rate(settings, 90) == pytest.approx(0.5)
    assert 0 < learning_rate(settings, 99) < 0.1
