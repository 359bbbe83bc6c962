"""The contract's base: fitting, scaling, saving, loading, and what a variant must not forget."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from assay import disk, tensor_file
from assay.codes import SparseCodes
from assay.dictionary import Dictionary
from assay.dictionary_file import DESCRIPTION, TENSORS
from assay.errors import AssayError, ConfigError, CorruptData, MissingMaterial, ShapeMismatch, UnknownName

GATED = Dictionary.registry.named("gated")


@pytest.fixture
def gated() -> Dictionary:
    dictionary = GATED.Config(d_in=5, width=9).build()
    dictionary.start(sample(64))
    return dictionary


@pytest.fixture
def own_registry(monkeypatch) -> None:
    """Variants defined in the test are forgotten after it."""
    Dictionary.registry.names()
    monkeypatch.setattr(Dictionary.registry, "_members", dict(Dictionary.registry._members))


def sample(rows: int) -> torch.Tensor:
    return 3 * torch.randn(rows, 5, generator=torch.Generator().manual_seed(0)) + 100


# Fitting.


def test_fitted_activations_have_mean_zero_and_unit_power(gated):
    x = gated.scaled(sample(64))
    torch.testing.assert_close(x.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.square().sum(1).mean(), torch.ones(()), atol=1e-5, rtol=0)


def test_fitting_says_so():
    dictionary = GATED.Config(d_in=5, width=9).build()
    assert not dictionary.is_fitted()
    dictionary.start(sample(64))
    assert dictionary.is_fitted()


def test_activations_that_never_vary_are_fitted_too():
    dictionary = GATED.Config(d_in=5, width=9).build()
    dictionary.start(torch.full((64, 5), 7.0))
    assert dictionary.scale.item() == 1.0
    assert bool(torch.isfinite(dictionary(torch.full((4, 5), 7.0))).all())


def test_decoding_is_raw(gated):
    empty = SparseCodes.dense(torch.zeros(2, 9))
    torch.testing.assert_close(gated.decode(empty), gated.mean.repeat(2, 1))
    one = SparseCodes.dense(torch.eye(9)[:1])
    torch.testing.assert_close(gated.decode(one)[0], gated.mean + gated.scale * gated.atoms[0])


def test_half_precision_activations_are_taken(gated):
    raw = sample(64).half()
    torch.testing.assert_close(gated(raw), gated(raw.float()))


def test_fitting_to_another_width_is_a_shape_mismatch():
    with pytest.raises(ShapeMismatch):
        GATED.Config(d_in=5, width=9).build().start(torch.randn(64, 6))


@pytest.mark.parametrize("bad", [torch.full((4, 5), torch.nan), torch.zeros(0, 5)], ids=["NaN", "no rows"])
def test_fitting_to_nothing_usable_is_an_error(bad):
    with pytest.raises(AssayError):
        GATED.Config(d_in=5, width=9).build().start(bad)


@pytest.mark.parametrize("layout", ["dense", "csr"])
def test_codes_of_another_width_are_a_shape_mismatch(gated, layout):
    codes = SparseCodes.dense(torch.eye(7))
    with pytest.raises(ShapeMismatch):
        gated.decode(codes if layout == "dense" else codes.to_csr())


def test_a_mismatch_names_the_site_and_the_model(gated):
    gated.provenance = {"site": "layers.8:out", "model": "gpt2"}
    with pytest.raises(
        ShapeMismatch, match=r"768 wide; expected 5, .* \(site layers\.8:out of gpt2\)\. Harvest that site"
    ):
        gated.encode(torch.zeros(2, 768))


# Latents.


def test_atoms_are_normalised_in_place(gated):
    with torch.no_grad():
        gated.atoms.mul_(3)
    before = gated.atoms.data_ptr()
    gated.normalize_atoms()
    torch.testing.assert_close(gated.atoms.norm(dim=-1), torch.ones(9))
    assert gated.atoms.data_ptr() == before


def test_parameters_of_latents_are_told_from_the_rest(gated):
    assert set(gated.per_latent_parameters()) == {"atoms", "encoder", "gate_bias", "magnitude_bias", "log_rescale"}


def test_a_square_dictionary_tells_them_apart_too():
    assert "decoder_bias" not in GATED.Config(d_in=6, width=6).build().per_latent_parameters()


def test_a_latent_reset_along_nothing_stays_finite(gated):
    gated.reset_latents(torch.tensor([2]), torch.zeros(1, 5), 0.2)
    assert bool(torch.isfinite(gated.atoms).all())


# On disk.


def test_a_saved_folder_holds_tensors_and_a_description(gated, tmp_path):
    gated.save(tmp_path / "d")
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["MANIFEST.json", DESCRIPTION, TENSORS]
    description = disk.read_json(tmp_path / "d" / DESCRIPTION)
    assert description["dictionary"] == "gated"
    assert description["config"] == gated.config.resolved()
    assert set(tensor_file.header_of(tmp_path / "d" / TENSORS)) == set(gated.state_dict())


def test_settings_come_back_as_they_were(tmp_path):
    dictionary = GATED.Config(d_in=5, width=9, free_norms=True, seed=4, sparsity={"value": 0.75, "warmup": 0.5}).build()
    dictionary.save(tmp_path / "d")
    again = Dictionary.load(tmp_path / "d")
    assert again.config == dictionary.config
    assert again.unit_atoms is False


def test_whatever_is_saved_can_be_loaded(gated, tmp_path):
    try:
        gated.double().save(tmp_path / "d")
    except AssayError:
        return
    torch.testing.assert_close(Dictionary.load(tmp_path / "d").atoms.double(), gated.atoms)


def redescribe(folder: Path, **changes: object) -> None:
    """Another description, with a manifest that agrees."""
    description = {**disk.read_json(folder / DESCRIPTION), **changes}
    tensors = (folder / TENSORS).read_bytes()

    def fill(part: Path) -> None:
        disk.write(part / TENSORS, tensors)
        disk.write_json(part / DESCRIPTION, description)

    disk.publish(folder, fill)


def test_nothing_there_is_missing_material(tmp_path):
    with pytest.raises(MissingMaterial):
        Dictionary.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["MANIFEST.json", TENSORS])
def test_a_lost_file_is_corrupt_data(gated, tmp_path, name):
    gated.save(tmp_path / "d")
    (tmp_path / "d" / name).unlink()
    with pytest.raises(CorruptData):
        Dictionary.load(tmp_path / "d")


@pytest.mark.parametrize("name", [DESCRIPTION, TENSORS])
def test_a_flipped_bit_is_corrupt_data(gated, tmp_path, name):
    gated.save(tmp_path / "d")
    path = tmp_path / "d" / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptData):
        Dictionary.load(tmp_path / "d")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"dictionary": "gatd"}, UnknownName),
        ({"dictionary": 3}, CorruptData),
        ({"config": None}, CorruptData),
        ({"provenance": [1]}, CorruptData),
        ({"config": {"d_in": 5, "width": 9, "wings": 2}}, ConfigError),
        ({"config": {"d_in": 5, "width": 10}}, CorruptData),
        ({"config": {"d_in": -5, "width": 9}}, ConfigError),
        ({"dictionary": "relu", "config": {"d_in": 5, "width": 9}}, CorruptData),
    ],
)
def test_a_description_of_something_else_is_refused(gated, tmp_path, changes, error):
    gated.save(tmp_path / "d")
    redescribe(tmp_path / "d", **changes)
    with pytest.raises(error):
        Dictionary.load(tmp_path / "d")


def test_a_boast_is_refused_before_memory_is_asked_for(gated, tmp_path):
    gated.save(tmp_path / "d")
    redescribe(tmp_path / "d", config={"d_in": 5, "width": 10**9})
    with pytest.raises(CorruptData):
        Dictionary.load(tmp_path / "d")


def test_a_description_that_is_no_table_is_corrupt_data(gated, tmp_path):
    gated.save(tmp_path / "d")
    tensors = (tmp_path / "d" / TENSORS).read_bytes()

    def fill(part: Path) -> None:
        disk.write(part / TENSORS, tensors)
        disk.write(part / DESCRIPTION, json.dumps([1, 2]).encode())

    disk.publish(tmp_path / "d", fill)
    with pytest.raises(CorruptData):
        Dictionary.load(tmp_path / "d")


# Variants.


def test_a_variant_needs_settings_of_its_own(own_registry):
    with pytest.raises(TypeError, match="needs a Config class of its own, with a dial"):

        class Forgetful(GATED, name="forgetful", paper="none"):  # pyright: ignore
            pass

    assert GATED.Config.owner is GATED
    assert "forgetful" not in Dictionary.registry.names()


def test_a_variant_needs_a_dial(own_registry):
    with pytest.raises(TypeError, match="with a dial"):

        class Undialled(Dictionary, name="undialled", paper="none"):
            class Config(Dictionary.Config):
                pass


def test_a_variant_cannot_take_over_anothers_settings(own_registry):
    try:
        with pytest.raises(TypeError):

            class Borrower(Dictionary, name="borrower", paper="none"):
                Config = GATED.Config  # pyright: ignore

        assert GATED.Config.owner is GATED
    finally:
        GATED.Config.owner = GATED


def test_weights_are_the_settings_that_are_weights(own_registry):
    assert list(GATED.Config().weights()) == ["reconstruction", "sparsity", "gate_reconstruction"]
    assert GATED.Config().dial_value() == GATED.Config().sparsity.value


def test_a_variant_that_lacks_its_rules_cannot_be_built(own_registry):
    class Empty(Dictionary, name="empty", paper="none"):
        class Config(Dictionary.Config):
            dial: ClassVar[str] = "reconstruction.value"

    with pytest.raises(TypeError, match="abstract"):
        Empty.Config().build()


def test_atoms_that_are_claimed_but_not_there_are_refused_before_anything_is_built(gated, tmp_path, monkeypatch):
    gated.save(tmp_path / "d")
    claimed = json.dumps({"atoms": {"dtype": "F32", "shape": [2**30, 2**20], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "d" / TENSORS).write_bytes(struct.pack("<Q", len(claimed)) + claimed + b"\0" * 4)
    redescribe(tmp_path / "d", config={"d_in": 2**20, "width": 2**30})
    monkeypatch.setattr(GATED.Config, "build", lambda config: pytest.fail("it was built"))
    with pytest.raises(CorruptData, match="do not lie where its shape says"):
        Dictionary.load(tmp_path / "d")


def test_atoms_of_half_the_bytes_are_refused_before_anything_is_built(gated, tmp_path, monkeypatch):
    gated.save(tmp_path / "d")
    tensor_file.write(tmp_path / "d" / TENSORS, {name: tensor.half() for name, tensor in gated.state_dict().items()})
    redescribe(tmp_path / "d")
    monkeypatch.setattr(GATED.Config, "build", lambda config: pytest.fail("it was built"))
    with pytest.raises(CorruptData, match="in float32"):
        Dictionary.load(tmp_path / "d")
