import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.sweep.costs import cell_cost, dry_run, encoder_cost
from bench.sweep.grid import read_sweep


def test_flops_are_those_of_a_forward_pass_of_real_weights(tmp_path):
    from tests.support.checkpoints import VIT, build, save_safetensors, write_config

    model = build(VIT)
    cost = encoder_cost(str(write_config(tmp_path, VIT)), str(save_safetensors(model, tmp_path / "w.safetensors")))
    size = VIT["vision_cfg"]["image_size"]
    plain = sdpa_kernel(SDPBackend.MATH)  # torch counts nothing in the CPU's own attention kernel
    with plain, torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.encode_image(torch.zeros(1, 3, size, size))
    assert cost.flops == counter.get_total_flops() > 0
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert cost.download is None


def test_flops_of_vit_b_32_are_those_of_its_layers():
    """By hand: 49 patches of 3 * 32 * 32, 12 blocks of 50 tokens of width 768, two flops per multiplication."""
    tokens, width = 50, 768
    patches = 49 * (3 * 32 * 32) * width
    block = tokens * (4 + 8) * width * width + 2 * tokens * tokens * width
    by_hand = 2 * (patches + 12 * block + width * 512)
    assert encoder_cost("ViT-B/32", "openai").flops == pytest.approx(by_hand, rel=0.01)


def test_papers_sweep_is_36_cells_and_9_downloads(repository, monkeypatch):
    monkeypatch.chdir(repository)
    cells = read_sweep(repository / "configs/paper.yaml", None, {})
    assert len(cells) == 36
    costs = [cell_cost(cell) for cell in cells]
    assert sum(cost.images for cost in costs) == 9 * (10_000 + 50_000 + 5_000 + 8_000)
    assert {cost.passes for cost in costs} == {4}
    text = dry_run(cells, 10)
    flops = sum(cost.images * 4 * cost.encoder.flops for cost in costs)
    assert (
        f"36 cells: images x passes x GFLOP/image = {flops / 1e15:.3f} PFLOP, {flops / 10e12 / 3600:.1f} hours" in text
    )
    assert f"{flops / 80e12 / 3600:.1f} hours at 10 TFLOP/s (--tflops) on 8 devices" in dry_run(cells, 10, devices=8)
    assert "9 downloads of weights" in text


@pytest.mark.parametrize("name", ["encoders", "openclip", "demo_sweep"])
def test_configs_are_grids_of_encoders_that_there_are(repository, monkeypatch, name):
    monkeypatch.chdir(repository)
    text = dry_run(read_sweep(repository / f"configs/{name}.yaml", None, {}), 10)
    assert "?" not in text


@pytest.mark.parametrize(
    "option",
    [
        "model.pretrained: 3", "model.encoder: {a: b}", "model.pretrained: {a: b}", "data.degradations: 7",
        "data.degradations: [original, 3]", "data.limit: x", "data.limit: -1", "data.every: 0", "data: x", "model: [1]",
        "data.split: {}",
    ],
)  # fmt: skip
def test_options_of_a_wrong_type_cost_no_traceback(repository, tmp_path, option):
    file = tmp_path / "sweep.yaml"
    config = repository / "configs/demo.yaml"
    file.write_text(f"output: x\noptions: {{config: {config}, {option}}}\ngrid: {{seed_everything: [0]}}")
    assert "seed_everything-0" in dry_run(read_sweep(file, None, {}), 10)


def test_a_cell_that_cannot_be_told_is_listed(repository, tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"output: x\noptions: {{config: {repository}/configs/cifar10.yaml}}\ngrid: {{model.encoder: [RN50, RN51]}}"
    )
    text = dry_run(read_sweep(file, None, {}), 10)
    assert "unknown encoder 'RN51'" in text
    assert "without 1 that cannot be told" in text


def test_a_fit_costs_three_forward_passes_of_each_image_that_is_not_held_out(repository, monkeypatch):
    monkeypatch.chdir(repository)
    cells = read_sweep(repository / "configs/robustness_study_small.yaml", None, {})
    fits = [cell for cell in cells if cell.name.startswith(("fits/seed-0/long", "fits/seed-0/augment"))]
    costs = {cell.name: cell_cost(cell) for cell in fits}
    assert {name: (cost.images, cost.passes) for name, cost in costs.items()} == {
        "fits/seed-0/long/tuned": (45_000, 3 * 6),
        "fits/seed-0/augment/tuned": (9_000, 3 * 4),
        "fits/seed-0/augment/control": (9_000, 3 * 4),
    }
    text = dry_run([cell for cell in cells if cell.labels.get("method") == "linear"], 10)
    assert "? (a fit of bench.LinearCorrection)" in text
