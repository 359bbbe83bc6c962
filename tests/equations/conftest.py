"""What the equations need: random parameters in float64, both layouts of the codes, and a comparison of terms and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from assay.dictionary import Dictionary, Step
from assay.ops import forced


@pytest.fixture(params=["csr", "dense"])
def layout(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each test runs twice: codes forced into CSR, and into the dense table."""
    with forced(crossover={"csr": 1.0, "dense": 0.0}[request.param]):
        yield request.param


@pytest.fixture
def build() -> Callable[..., Dictionary]:
    """build(name, **settings): a float64 dictionary of 24 latents in 10 dimensions; no parameter is zero, one, or tied to another."""

    def build(name: str, **settings: Any) -> Dictionary:
        variant = Dictionary.registry.named(name)
        dictionary = variant.Config(d_in=10, width=24, **settings).build().double()
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for key, parameter in dictionary.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(noise if key in ("atoms", "encoder") else 0.3 * noise - 0.2)
        return dictionary

    return build


@pytest.fixture
def step() -> Step:
    """32 rows, and a target that is not the input."""
    generator = torch.Generator().manual_seed(6)
    x, target = torch.randn(2, 32, 10, generator=generator, dtype=torch.float64)
    return Step(x, target)


@pytest.fixture
def gradients() -> Callable[[Tensor, Dictionary], dict[str, Tensor]]:
    """Gradient of one term for each parameter by name; zero where the term doesn't depend on it."""

    def gradients(term: Tensor, dictionary: Dictionary) -> dict[str, Tensor]:
        parameters = dict(dictionary.named_parameters())
        found = torch.autograd.grad(term, list(parameters.values()), retain_graph=True, materialize_grads=True)
        return dict(zip(parameters, found, strict=True))

    return gradients


@pytest.fixture
def agree(gradients: Callable[[Tensor, Dictionary], dict[str, Tensor]]) -> Callable[..., None]:
    """agree(dictionary, step, expected): each term of `losses` has the value and the gradients of the paper's formula."""

    def agree(dictionary: Dictionary, step: Step, expected: Mapping[str, Tensor]) -> None:
        terms = dictionary.losses(step).terms
        assert set(terms) == set(expected)
        for name, term in terms.items():
            torch.testing.assert_close(term, expected[name], rtol=1e-10, atol=0.0)
            ours, papers = gradients(term, dictionary), gradients(expected[name], dictionary)
            for parameter, gradient in papers.items():
                scale = float(gradient.abs().max())
                torch.testing.assert_close(
                    ours[parameter],
                    gradient,
                    rtol=0.0,
                    atol=1e-10 * scale,
                    msg=lambda m, n=name, p=parameter: f"{n}, {p}: {m}",
                )

    return agree
