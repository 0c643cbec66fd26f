"""Integrated Gradients against hand-worked cases, completeness and captum."""

import dataclasses

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from bench.attribution.adaptive import Adaptive
from bench.attribution.integrated_gradients import cross_entropy, integrated_gradients
from bench.attribution.quadrature import GaussLegendre, RightRiemann, Trapezoid
from datamodules.errors import UserError
from tests.support.toys import RULES, Classifier, images, labels, relative_error

SYMMETRIC = [rule for rule in RULES if not isinstance(rule, RightRiemann)]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_linear_loss_attributes_weight_times_change(rule):
    weight, start, end = images(3, 2, 2, seed=1), images(2, 3, 2, 2, seed=2), images(2, 3, 2, 2, seed=3)
    result = integrated_gradients(lambda x, y: (weight * x).flatten(1).sum(1), start, end, labels(2), rule)
    torch.testing.assert_close(result.attribution, weight * (end - start), rtol=1e-12, atol=1e-12)
    assert result.residual.max() < 1e-12
    assert result.converged.all()


@pytest.mark.parametrize("rule", SYMMETRIC, ids=str)
def test_quadratic_loss_attributes_difference_of_squares(rule):
    start, end = images(2, 3, 2, 2, seed=2), images(2, 3, 2, 2, seed=3)
    result = integrated_gradients(lambda x, y: x.square().flatten(1).sum(1), start, end, labels(2), rule)
    torch.testing.assert_close(result.attribution, end.square() - start.square(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", SYMMETRIC, ids=str)
def test_the_mean_gradient_is_known_also_of_pixels_that_do_not_change(rule):
    start, end = images(2, 3, 2, 2, seed=2), images(2, 3, 2, 2, seed=3)
    end[:, 1] = start[:, 1]
    result = integrated_gradients(lambda x, y: x.square().flatten(1).sum(1), start, end, labels(2), rule)
    torch.testing.assert_close(result.gradient, end + start, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(result.attribution, result.gradient * (end - start), rtol=1e-12, atol=1e-12)
    assert (result.attribution[:, 1] == 0).all()


def test_right_riemann_is_the_papers_equation_4_with_its_bias():
    start, end, n = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1), 4
    result = integrated_gradients(lambda x, y: x.square().flatten(1).sum(1), start, end, labels(1), RightRiemann(n))
    # Per channel: the mean of 2 s / N over s = 1..N is (N + 1) / N, where the integral is 1.
    assert result.attribution.flatten().tolist() == pytest.approx([(n + 1) / n] * 3)
    assert result.residual.item() == pytest.approx(3 / n)


@pytest.mark.parametrize("kink", [0.3, 0.41, 0.77])
def test_relu_kink_attributes_only_what_lies_behind_it(kink):
    start, end = torch.zeros(1, 3, 1, 1, dtype=torch.float64), torch.ones(1, 3, 1, 1, dtype=torch.float64)
    slopes = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)

    def loss(pixels, labels):  # relu(w . x - kink * sum(w)): the unit switches at t = kink
        return (pixels.flatten(1) @ slopes - kink * slopes.sum()).relu()

    result = integrated_gradients(loss, start, end, labels(1), Adaptive(tolerance=0.01))
    truth = (slopes * (1 - kink)).view(1, 3, 1, 1)
    assert relative_error(result.attribution, truth).item() <= result.error_estimate.item() <= 0.01
    assert result.converged.item()
    coarse = integrated_gradients(loss, start, end, labels(1), Trapezoid(int(result.evaluations) - 1))
    assert relative_error(coarse.attribution, truth).item() >= relative_error(result.attribution, truth).item()


def test_two_class_softmax_shares_the_loss_in_proportion_to_the_logit():
    # Cross-entropy of class 0 with logits (0, w . x) is log(1 + exp(w . x)). Its gradient is parallel to w all along
    # the path, so each pixel's share is that of w * change, and the shares sum to the loss difference.
    weight, start, end = images(3, 2, 2, seed=4) - 0.3, images(2, 3, 2, 2, seed=5), images(2, 3, 2, 2, seed=6)

    def logits(pixels):
        second = (weight * pixels).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(second), second], dim=1)

    result = integrated_gradients(
        cross_entropy(logits), start, end, torch.zeros(2, dtype=torch.int64), GaussLegendre(8)
    )
    share = weight * (end - start)
    before, after = (logits(x)[:, 1].exp().log1p() for x in (start, end))
    truth = share * ((after - before) / share.flatten(1).sum(1)).view(-1, 1, 1, 1)
    torch.testing.assert_close(result.attribution, truth, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(result.loss_difference, after - before)


@pytest.mark.parametrize("max_batch", [4, 64])
def test_what_paths_have_in_common_is_evaluated_once(max_batch):
    evaluated, model = [], Classifier(nn.SiLU())

    def loss(pixels, labels):
        evaluated.extend(zip(pixels.detach().flatten(1).tolist(), labels.tolist(), strict=True))
        return cross_entropy(model)(pixels, labels)

    start, end, classes = images(1, 3, 4, 4).repeat(3, 1, 1, 1), images(3, 3, 4, 4, seed=9), torch.tensor([0, 1, 0])
    result = integrated_gradients(loss, start, end, classes, Adaptive(max_points=9), max_batch)
    assert result.evaluations.tolist() == [9, 9, 9]
    assert len(evaluated) == 3 * 9 - 1  # the baseline of the two with label 0; no loss a second time
    assert len({(tuple(pixels), label) for pixels, label in evaluated}) == len(evaluated)
    alone = [
        integrated_gradients(loss, start[:1], end[i : i + 1], classes[i : i + 1], Adaptive(max_points=9))
        for i in range(3)
    ]
    torch.testing.assert_close(result.attribution, torch.cat([one.attribution for one in alone]), rtol=1e-9, atol=0)
    torch.testing.assert_close(result.loss_difference, torch.cat([one.loss_difference for one in alone]))


def test_sign_is_positive_where_the_target_has_the_higher_loss():
    result = integrated_gradients(
        lambda x, y: x.flatten(1).sum(1), torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), labels(1)
    )
    assert (result.attribution > 0).all()
    assert result.total.item() == pytest.approx(result.loss_difference.item()) == pytest.approx(12)


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.ReLU()], ids=["smooth", "kinked"])
def test_captum_gausslegendre_is_ours_within_1e6(activation):
    model, start, end, classes = Classifier(activation), images(4, 3, 4, 4), images(4, 3, 4, 4, seed=9), labels(4)
    loss = cross_entropy(model)
    ours = integrated_gradients(loss, start, end, classes, GaussLegendre(20))
    theirs = IntegratedGradients(loss).attribute(
        end, start, additional_forward_args=classes, n_steps=20, method="gausslegendre"
    )
    torch.testing.assert_close(ours.attribution, theirs.detach(), rtol=0, atol=1e-6)
    # In float32 captum sums 20 terms in another order: some units in the last place of the largest values, about 0.3.
    single = Classifier(activation, dtype=torch.float32)
    narrow = integrated_gradients(cross_entropy(single), start.float(), end.float(), classes, GaussLegendre(20))
    assert narrow.attribution.dtype == torch.float32
    torch.testing.assert_close(narrow.attribution, theirs.detach().float(), rtol=0, atol=5e-6)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("max_batch", [1, 5, 64])
def test_batch_equals_single_whatever_the_memory_bound(rule, max_batch):
    loss, start, end = cross_entropy(Classifier(nn.ReLU())), images(5, 3, 4, 4), images(5, 3, 4, 4, seed=9)
    together = integrated_gradients(loss, start, end, labels(5), rule, max_batch)
    for i in range(5):
        one = slice(i, i + 1)
        alone = integrated_gradients(loss, start[one], end[one], labels(5)[one], rule)
        for field in dataclasses.fields(alone):
            got, want = getattr(together, field.name)[one], getattr(alone, field.name)
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12, equal_nan=True, msg=field.name)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("max_batch", [1, 7])
def test_no_more_images_than_max_batch_meet_the_loss(rule, max_batch):
    sizes, model = [], Classifier(nn.ReLU())

    def loss(pixels, labels):
        sizes.append(len(pixels))
        return cross_entropy(model)(pixels, labels)

    integrated_gradients(loss, images(4, 3, 4, 4), images(4, 3, 4, 4, seed=9), labels(4), rule, max_batch)
    assert max(sizes) == max_batch


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_attribution_is_exactly_zero_and_free_where_the_views_agree(rule):
    start, end, calls = images(3, 3, 4, 4), images(3, 3, 4, 4, seed=9), []
    end[1] = start[1]
    end[0, :, :2] = start[0, :, :2]
    result = integrated_gradients(cross_entropy(Classifier(nn.SiLU())), start, end, labels(3), rule)
    assert (result.attribution[1] == 0).all()
    assert (result.attribution[0, :, :2] == 0).all()
    assert [x[1].item() for x in (result.evaluations, result.residual, result.error_estimate)] == [0, 0, 0]
    assert result.converged[1]
    assert (result.evaluations[[0, 2]] > 0).all()
    integrated_gradients(lambda x, y: calls.append(x), start, start.clone(), labels(3), rule)
    assert calls == []


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_no_images_give_empty_results(rule):
    empty = torch.zeros(0, 3, 4, 4)
    result = integrated_gradients(cross_entropy(Classifier(nn.SiLU())), empty, empty, labels(0), rule)
    assert result.attribution.shape == (0, 3, 4, 4)
    assert all(len(getattr(result, field.name)) == 0 for field in dataclasses.fields(result))


@pytest.mark.parametrize("trainable", [True, False])
def test_parameters_get_no_gradient_and_keep_requires_grad(trainable):
    model, computed = Classifier(nn.ReLU()).requires_grad_(trainable), []
    hooks = [p.register_hook(computed.append) for p in model.parameters() if trainable]
    integrated_gradients(cross_entropy(model), images(2, 3, 4, 4), images(2, 3, 4, 4, seed=9), labels(2))
    assert computed == []
    assert all(p.grad is None and p.requires_grad is trainable for p in model.parameters())
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("surroundings", [torch.inference_mode, torch.no_grad], ids=["inference_mode", "no_grad"])
@pytest.mark.parametrize("rule", [Trapezoid(8), Adaptive()], ids=str)
def test_gradients_flow_in_lightnings_test_loop(surroundings, rule):
    model = Classifier(nn.ReLU(), dtype=torch.float32)

    def attribute():
        start, end = images(3, 3, 4, 4).float() * 1, images(3, 3, 4, 4, seed=9).float() * 1
        return integrated_gradients(cross_entropy(model), start, end, labels(3) * 1, rule)

    plain = attribute()
    with surroundings():
        inside = attribute()
    assert torch.equal(inside.attribution, plain.attribution)
    assert not inside.attribution.is_inference()
    assert not inside.attribution.requires_grad


def test_ambient_autocast_does_not_lower_the_precision():
    model = Classifier(nn.SiLU(), dtype=torch.float32)
    start, end = images(3, 3, 4, 4).float(), images(3, 3, 4, 4, seed=9).float()
    plain = integrated_gradients(cross_entropy(model), start, end, labels(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = integrated_gradients(cross_entropy(model), start, end, labels(3))
    assert torch.equal(inside.attribution, plain.attribution)


def test_half_precision_pixels_are_computed_in_float32():
    model = Classifier(nn.SiLU(), dtype=torch.float32)
    start, end = images(1, 3, 4, 4).half(), images(1, 3, 4, 4, seed=9).half()
    assert integrated_gradients(cross_entropy(model), start, end, labels(1)).attribution.dtype == torch.float32


def test_inputs_are_left_as_they_were():
    start, end = images(2, 3, 4, 4), images(2, 3, 4, 4, seed=9)
    before = start.clone(), end.clone()
    integrated_gradients(cross_entropy(Classifier(nn.ReLU())), start, end, labels(2))
    assert torch.equal(start, before[0])
    assert torch.equal(end, before[1])
    assert not start.requires_grad


def test_wrong_shapes_and_types_are_refused():
    def loss(pixels, labels):
        return pixels.flatten(1).sum(1)

    ok, y = torch.rand(2, 3, 4, 4), labels(2)
    with pytest.raises(UserError, match="max_batch=0"):
        integrated_gradients(loss, ok, ok, y, max_batch=0)
    for arguments in [(ok, ok[:1], y), (ok[0], ok[0], y), (ok, ok, y[:1])]:
        with pytest.raises(ValueError, match="shapes"):
            integrated_gradients(loss, *arguments)
    with pytest.raises(ValueError, match="uint8"):
        integrated_gradients(loss, ok.to(torch.uint8), ok, y)
    with pytest.raises(ValueError, match="one number each"):
        integrated_gradients(lambda x, y: x.sum().reshape(1), ok, ok + 1, y)


def test_progress_counts_every_gradient_batch_by_batch():
    start, end = images(3, 3, 4, 4, seed=1, dtype=torch.float32), images(3, 3, 4, 4, seed=2, dtype=torch.float32)
    model, counted = Classifier(torch.tanh, dtype=torch.float32), []
    rule, loss = Trapezoid(12), cross_entropy(model)
    found = integrated_gradients(loss, start, end, labels(3), rule, max_batch=8, progress=counted.append)
    assert sum(counted) == found.evaluations.sum() == 39
    assert counted == [8, 8, 8, 8, 7]
