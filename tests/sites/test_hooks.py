"""What is captured is what the model computed, the forward stops there, and a replacement is all that changes."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assay.errors import ShapeMismatch, SiteNotFound
from assay.sites import Site, capture, list_sites, locate, replace


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + 1


class Named(nn.Module):
    """A block that is called by names only, in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, hidden: Tensor, mask: Tensor | None = None, **other: Any) -> dict[str, Any]:
        return {"mask": mask, "hidden": self.mix(hidden)}


class Caller(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Named()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(extra=torch.ones(7), mask=x > 0, hidden=x)["hidden"]


# capture


def test_captured_tensors_are_what_the_modules_took_and_returned(chain, x):
    sites = [Site("2", "in"), Site("0"), Site(""), Site("", "in")]
    found = capture(chain, sites, x)
    assert list(found) == sites
    assert torch.equal(found[Site("0")], chain[0](x))
    assert torch.equal(found[Site("2", "in")], chain[0](x).relu())
    assert torch.equal(found[Site("")], chain(x))
    assert torch.equal(found[Site("", "in")], x)
    assert not any(tensor.requires_grad or tensor.is_inference() for tensor in found.values())


@pytest.mark.parametrize(
    ("sites", "calls"), [(["0"], [1, 0, 0]), (["0", "1:in"], [1, 0, 0]), (["1", "0:in"], [1, 1, 0])]
)
def test_the_forward_stops_as_soon_as_all_is_found(x, sites, calls):
    model = nn.Sequential(Counting(), Counting(), Counting())
    capture(model, [Site.parse(site) for site in sites], x)
    assert [module.calls for module in model] == calls


def test_later_blocks_of_a_language_model_do_not_run(decoder, tokens):
    ran = []
    later = decoder.get_submodule(locate(decoder, "resid_post.2").path)
    handle = later.register_forward_pre_hook(lambda *_: ran.append(1))
    capture(decoder, [locate(decoder, "resid_post.1")], input_ids=tokens)
    assert not ran
    capture(decoder, [locate(decoder, "final_norm")], input_ids=tokens)
    assert ran
    handle.remove()


def test_stopping_early_leaves_the_model_as_it_was(decoder, tokens):
    with torch.no_grad():
        before = decoder(tokens).logits
        capture(decoder, [locate(decoder, "resid_post.0")], tokens)
        assert torch.equal(decoder(tokens).logits, before)
    assert torch.is_grad_enabled()


def test_no_except_clause_of_the_model_holds_the_stop_up(x):
    class Forgiving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.later = Counting(), Counting()

        def forward(self, x: Tensor) -> Tensor:
            try:
                x = self.inner(x)
            except Exception:
                x = torch.zeros_like(x)
            return self.later(x)

    model = Forgiving()
    assert torch.equal(capture(model, [Site("inner")], x)[Site("inner")], x + 1)
    assert model.later.calls == 0


def test_a_captured_tensor_is_safe_from_operations_in_place(x):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4))
    found = capture(model, [Site("0"), Site("2")], x)
    assert torch.equal(found[Site("0")], model[0](x))
    assert found[Site("0")].min() < 0


def test_a_module_that_runs_twice_is_read_the_first_time(x):
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, shared, nn.ReLU())
    found = capture(model, [Site("0"), Site("2")], x)
    assert torch.equal(found[Site("0")], shared(x))


def test_a_forward_holds_no_memory_after_it_was_stopped(x):
    alive: list[weakref.ref] = []

    class Maker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Counting()

        def forward(self, x: Tensor) -> Tensor:
            made = x * 2
            alive.append(weakref.ref(made))
            return self.inner(made) + made

    gc.collect()
    gc.disable()
    try:
        capture(Maker(), [Site("inner")], x)
        assert [reference() for reference in alive] == [None]
    finally:
        gc.enable()


def test_named_arguments_count_in_the_order_of_the_signature(x):
    model = Caller()
    assert torch.equal(capture(model, [Site("block", "in")], x)[Site("block", "in")], x)
    assert torch.equal(capture(model, [Site("block")], x)[Site("block")], model.block.mix(x))


def test_a_recurrent_network_gives_its_first_output(x):
    model = nn.LSTM(4, 3, batch_first=True)
    sequence = x[:, None].repeat(1, 5, 1)
    assert torch.equal(capture(model, [Site("")], sequence)[Site("")], model(sequence)[0])


def test_a_convolutional_network_is_a_model_too():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(2)
    ).eval()
    image = torch.rand(2, 3, 5, 5)
    model(image)
    found = capture(model, [locate(model, name) for name in list_sites(model)], image)
    assert found[Site("0")].shape == (2, 4, 3, 3)
    assert torch.equal(found[Site("0")], model[0](image))
    assert torch.equal(found[Site("4")], model(image))


def test_a_module_that_never_runs_is_an_error(x):
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "idle": nn.Linear(4, 4)})
    model.forward = lambda x: model["used"](x)
    with pytest.raises(SiteNotFound, match="idle:out, idle:in was never reached by ModuleDict"):
        capture(model, [Site("used"), Site("idle"), Site("idle", "in")], x)


def test_a_site_without_an_activation_is_an_error():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    with pytest.raises(SiteNotFound, match=r"0:in holds no activation but tuple of tuple of int64 \[3\]"):
        capture(model, [Site("0", "in")], torch.arange(3))


def test_a_missing_module_is_an_error_before_anything_runs(x):
    model = nn.Sequential(Counting())
    with pytest.raises(SiteNotFound, match="no site '7:out'"):
        capture(model, [Site("7")], x)
    assert model[0].calls == 0


def test_no_graph_is_built_while_capturing(x):
    modes = []
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[0].register_forward_hook(lambda *_: modes.append(torch.is_grad_enabled()))
    capture(model, [Site("1")], x)
    assert modes == [False]
    assert torch.is_grad_enabled()


# replace


def test_replacing_by_the_same_leaves_every_logit_bit_for_bit(decoder, tokens):
    sites = [locate(decoder, name) for name in list_sites(decoder)]
    with torch.no_grad():
        before = decoder(tokens).logits
        with replace(decoder, dict.fromkeys(sites, lambda tensor: tensor)):
            assert torch.equal(decoder(input_ids=tokens).logits, before)
        with replace(decoder, dict.fromkeys(sites, torch.clone)):
            assert torch.equal(decoder(input_ids=tokens).logits, before)


def test_replacing_any_listed_site_changes_the_logits(decoder, tokens):
    with torch.no_grad():
        before = decoder(tokens).logits
        for name in list_sites(decoder):
            with replace(decoder, {locate(decoder, name): lambda tensor: 1.5 * tensor + 1}):
                assert not torch.equal(decoder(tokens).logits, before), name
        assert torch.equal(decoder(tokens).logits, before)


def test_the_forward_goes_on_with_the_replacement(chain, x):
    other = torch.full((2, 3), 2.0)
    with replace(chain, {Site("1"): lambda _: other}):
        assert torch.equal(chain(x), chain[2](other))
    with replace(chain, {Site("2", "in"): lambda _: other}):
        assert torch.equal(chain(x), chain[2](other))
    with replace(chain, {Site("0"): torch.zeros_like, Site("2"): lambda y: y + 1}):
        assert torch.equal(chain(x), chain[2].bias.expand(2, 2) + 1)


def test_only_the_hidden_state_is_exchanged_in_what_a_module_returns(x):
    model = nn.LSTM(4, 3)
    with replace(model, {Site(""): torch.zeros_like}):
        out, (hidden, cell) = model(x)
    assert out.abs().max() == 0
    torch.testing.assert_close((hidden, cell), model(x)[1])


def test_named_arguments_are_replaced(x):
    model = Caller()
    with replace(model, {Site("block", "in"): lambda hidden: 2 * hidden}):
        assert torch.equal(model(x), model.block.mix(2 * x))


def test_gradients_flow_through_a_replacement(chain, x):
    direction = torch.zeros(3, requires_grad=True)
    with replace(chain, {Site("1"): lambda y: y + direction}):
        chain(x).sum().backward()
    torch.testing.assert_close(direction.grad, 2 * chain[2].weight.sum(0))
    assert chain[0].weight.grad is not None


def test_a_replacement_is_brought_to_the_dtype_of_the_model():
    model = nn.Linear(4, 3).bfloat16()
    x = torch.ones(2, 4, dtype=torch.bfloat16)
    with replace(model, {Site("", "in"): lambda y: 2 * y.float()}):
        assert model(x).dtype == torch.bfloat16
        assert torch.equal(model(x), nn.functional.linear(2 * x, model.weight, model.bias))


@pytest.mark.parametrize("wrong", [lambda y: y[:, :2], lambda y: y[:1], lambda y: None, lambda y: y[None]])
def test_a_replacement_of_another_shape_is_an_error(chain, x, wrong):
    with pytest.raises(ShapeMismatch, match=r"replacement of 0:out .* \[2, 3\]"), replace(chain, {Site("0"): wrong}):
        chain(x)
    assert hooks_of(chain) == 0


def test_a_replacement_that_never_happened_is_an_error(chain, x):
    with pytest.raises(SiteNotFound, match="0:out was never reached"), replace(chain, {Site("0"): torch.zeros_like}):
        pass
    with pytest.raises(SiteNotFound, match="2:out was never reached"), replace(chain, {Site("2"): torch.zeros_like}):
        capture(chain, [Site("0")], x)


def test_replacements_nest_and_the_outer_one_edits_first(chain, x):
    site = Site("0")
    with replace(chain, {site: lambda y: y + 1}), replace(chain, {site: lambda y: y * 2}):
        assert torch.equal(capture(chain, [site], x)[site], (chain[0].forward(x) + 1) * 2)


def test_a_replacement_may_run_the_same_model(chain, x):
    site, other = Site("0"), x.flip(0)
    with replace(chain, {site: lambda y: capture(chain, [site], other)[site]}):
        patched = chain(x)
    assert torch.equal(patched, chain(other))


def test_a_model_may_capture_from_another_while_it_is_captured(x):
    inner = nn.Sequential(Counting(), Counting())

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return capture(self.inner, [Site("1")], x)[Site("1")]

    model = Outer()
    found = capture(model, [Site("inner.0")], x)
    assert torch.equal(found[Site("inner.0")], x + 1)
    assert inner[1].calls == 0


# afterwards


def test_no_hook_is_left_whatever_happens(chain, x):
    def fails(_: Tensor) -> Tensor:
        raise ZeroDivisionError

    def reach() -> None:
        with replace(chain, {Site("0"): torch.zeros_like, Site("1", "in"): fails}):
            chain(x)

    clean = chain(x)
    capture(chain, [Site("0"), Site("1", "in")], x)
    assert hooks_of(chain) == 0
    with pytest.raises(ZeroDivisionError):
        reach()
    with pytest.raises(SiteNotFound):
        capture(chain, [Site("0"), Site("9")], x)
    with pytest.raises(RuntimeError):
        capture(chain, [Site("2")], x[:, :3])
    assert hooks_of(chain) == 0
    assert torch.equal(chain(x), clean)


def test_blocks_may_end_in_any_order(chain, x):
    first, second = replace(chain, {Site("0"): torch.zeros_like}), replace(chain, {Site("2"): lambda y: y + 1})
    clean = chain(x)
    first.__enter__()
    second.__enter__()
    chain(x)
    first.__exit__(None, None, None)
    assert torch.equal(chain(x), clean + 1)
    second.__exit__(None, None, None)
    assert torch.equal(chain(x), clean)


def test_another_thread_runs_the_same_model_undisturbed(chain, x):
    clean, elsewhere = chain(x), []

    def run() -> None:
        elsewhere.append(chain(x))
        elsewhere.append(capture(chain, [Site("0")], x)[Site("0")])

    def beside(y: Tensor) -> Tensor:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return torch.zeros_like(y)

    with replace(chain, {Site("0"): beside}):
        assert not torch.equal(chain(x), clean)
    assert torch.equal(elsewhere[0], clean)
    assert torch.equal(elsewhere[1], chain[0](x))
