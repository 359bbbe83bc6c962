"""Addresses read back as they are written, and a misspelt one says how it should look."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from torch import nn

from assay.errors import ConfigError, SiteNotFound
from assay.sites import Site
from assay.sites.address import module_at, unwrapped

PATHS = [
    "",
    "layers.12",
    "model.layers.0.self_attn.o_proj",
    "self-attn",
    "self_attn",
    "a_2d_b",
    "a-b",
    "a b",
    "tap",
    "é.0",
]


@pytest.mark.parametrize(
    "text", ["layers.12:out", "layers.12:in", ":out", ":in", "tap:state", "tap:out", "tap:in", "a-b.0:out"]
)
def test_an_address_reads_back_as_written(text):
    assert str(Site.parse(text)) == text


def test_the_side_is_out_when_none_is_written():
    assert Site.parse(" layers.12 ") == Site("layers.12", "out") == Site("layers.12")


def test_a_module_called_tap_and_a_tap_are_told_apart():
    assert Site.parse("tap:out") == Site("tap", "out")
    assert Site.parse("tap:state") == Site("state", "tap")


@pytest.mark.parametrize(
    "text", ["", "  ", "layers.12:output", "layers..12", ".layers", "layers.", "a:b:out", "tap:", "tap:a:b", "a\nb"]
)
def test_a_misspelt_address_says_how_it_should_look(text):
    with pytest.raises(ConfigError, match=r"layers\.12:out") as error:
        Site.parse(text)
    assert error.value.do


def test_a_tap_cannot_be_named_after_a_side():
    with pytest.raises(ConfigError):
        Site("out", "tap")


def test_sites_are_values():
    assert {Site("a"): 1}[Site.parse("a:out")] == 1
    with pytest.raises(AttributeError):
        Site("a").path = "b"  # pyright: ignore


def test_slugs_are_plain_folder_names_and_never_shared():
    sites = [Site(path, side) for path, side in itertools.product(PATHS, ("in", "out"))]
    sites += [Site(path, "tap") for path in PATHS if path]
    slugs = [site.slug for site in sites]
    assert len(set(slugs)) == len(sites)
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", slug) and not slug.startswith(".") for slug in slugs)
    assert Site("model.layers.0.self_attn").slug == "model.layers.0.self-attn.out"


def test_a_missing_module_is_answered_with_the_nearest_path():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(SiteNotFound, match=r"no site '1\.9:in'; .* 1\.0"):
        module_at(model, Site("1.9", "in"))


def test_wrappers_leave_no_trace_in_an_address():
    model = nn.Sequential(nn.Linear(2, 2))
    for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        assert unwrapped(wrapped) is model
        assert module_at(wrapped, Site("0")) is model[0]
