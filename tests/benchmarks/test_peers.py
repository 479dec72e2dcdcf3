"""The peers compute what they claim: the hand-written gradient is the gradient."""

import sys
import types

import pytest
import torch
from torch import Tensor, nn

from benchmarks.peers import compiled, nerfstudio
from benchmarks.peers.prototype import FINAL, Prototype
from neural_render.core.errors import UserError

LOG2_ROWS = 8


def plain(function, **_):
    """No compiler."""
    return function


@pytest.fixture
def peer() -> compiled.Peer:
    """A small one whose table is large enough to be seen through bfloat16."""
    made = compiled.Peer(512, LOG2_ROWS, plain)
    made.table *= 1e4
    made.packed = compiled.pack(made.table)
    return made


def unpacked(packed: Tensor) -> Tensor:
    planes = [(packed << 16).view(torch.float32), (packed & -65536).view(torch.float32)]
    return torch.stack(planes)


def loss_of(density: Tensor, radiance: Tensor, targets: Tensor) -> Tensor:
    """Mean squared errors of radiance and of opacity over one step, added."""
    opacity = 1 - torch.exp(-density * compiled.STEP)
    return (radiance - targets[:3]).square().mean() + (opacity - targets[3]).square().mean()


def test_packing_rounds_to_bfloat16(peer: compiled.Peer) -> None:
    rounded = unpacked(peer.packed)
    assert torch.equal(rounded, rounded.to(torch.bfloat16).float())
    # Half up and not half to even: they differ by one step where a value lies between two.
    assert torch.allclose(rounded, peer.table, rtol=2**-8, atol=0)


def test_features_are_trilinear_in_the_rows_of_the_corners(peer: compiled.Peer) -> None:
    """Level by level, point by point, in plain Python integers."""
    table, found = unpacked(peer.packed), peer.encode().float()
    primes, mask = (1, 2654435761, 805459861), (1 << LOG2_ROWS) - 1
    for sample in range(3):
        for level, scale in enumerate(compiled.scales()):
            position = peer.points[:, sample] * scale
            cell = position.floor()
            wanted = torch.zeros(2)
            for corner in range(8):
                bits = torch.tensor([corner >> axis & 1 for axis in range(3)])
                place = (position - cell) * bits + (1 - position + cell) * (1 - bits)
                corners = (cell + bits).int().tolist()
                hashed = sum(c * prime for c, prime in zip(corners, primes, strict=True))
                row = (hashed & mask) + (level << LOG2_ROWS)
                wanted += table[:, row] * place.prod()
            assert torch.allclose(found[2 * level : 2 * level + 2, sample], wanted, rtol=0.02)


def test_the_gradients_are_those_of_autograd(
    peer: compiled.Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        g_table, g_weights = peer.gradients()
    features = peer.encode().float().requires_grad_()
    weights = [weight.clone().requires_grad_() for weight in peer.weights]
    monkeypatch.setattr(compiled, "HALF", torch.float32)
    density, radiance, *_ = compiled.networks(features, peer.directions, weights)
    loss_of(density, radiance, peer.targets).backward()
    assert features.grad is not None
    planes = compiled.scatter(peer.points, features.grad, LOG2_ROWS)
    pairs = [(torch.stack(g_table), torch.stack(planes))]
    pairs += [(mine, weight.grad) for mine, weight in zip(g_weights, weights, strict=True)]
    for mine, wanted in pairs:
        alike = torch.nn.functional.cosine_similarity(mine.flatten(), wanted.flatten(), dim=0)
        assert alike > 0.99  # networks in bfloat16 against float32
        assert torch.allclose(mine.norm(), wanted.norm(), rtol=0.02)


def test_the_scatter_is_the_transpose_of_the_encoding(peer: compiled.Peer) -> None:
    gradient = torch.randn(32, 512, generator=torch.Generator().manual_seed(1))
    planes = compiled.scatter(peer.points, gradient, LOG2_ROWS)
    left = (torch.stack(planes) * unpacked(peer.packed)).double().sum()
    right = (gradient * peer.encode().float()).double().sum()
    assert torch.allclose(left, right, rtol=0.01)


def test_the_compiled_peer_learns_its_batch(peer: compiled.Peer) -> None:
    def loss() -> float:
        _, made = peer.forward()
        return float(loss_of(made[0], made[1], peer.targets))

    before = loss()
    for _ in range(10):
        peer.step()
    assert loss() < 0.9 * before


def test_the_peer_of_nerfstudios_components_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins of the same signatures: the real ones are not a dependency of the tests."""

    class Encoding(nn.Linear):
        def __init__(self, *numbers: int, implementation: str) -> None:
            super().__init__(3, 32 if len(numbers) == 5 else 16)

    class Network(nn.Linear):
        def __init__(self, inputs, layers, width, outputs, out_activation=None, **_) -> None:
            super().__init__(inputs, outputs)

    monkeypatch.setattr(nerfstudio, "components", lambda _: (Encoding, Encoding, Network))
    options = {"batch": 64, "threads": torch.get_num_threads(), "repeats": 1}
    figures = nerfstudio.main({**nerfstudio.OPTIONS, **options})
    assert figures["parts"].keys() == {"step", "encode", "forward"}
    assert figures["million_samples_per_second"] == figures["parts"]["step"]


def test_nerfstudio_that_is_not_there_cannot_be_imported(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("viser", "viser.transforms"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    if "nerfstudio" not in sys.modules:
        with pytest.raises(ImportError, match="nerfstudio"):
            nerfstudio.components(str(tmp_path))


def test_the_figures_of_the_prototype_are_found():
    line = (
        "MARK eff 15.0s wall 72.0s step 2714 psnr 27.566 loss 0.00122 render cpu/2 277.9 ms"
        " wall-med 619.5 ms samp/ray 6.40 col/ray 5.34 | surv/ray 5.33 slot/ray 6.29 | 2.999"
        " Msurv/s 3.448 Mslot/s 500.6 krays/s(eff) occ 3.088%"
    )
    assert FINAL.findall(line) == [("15.0", "72.0", "2714", "27.566", "2.999")]


def test_a_folder_without_the_prototype_is_said(tmp_path):
    with pytest.raises(UserError, match=r"has no ngp\.cpp"):
        Prototype(tmp_path, tmp_path, tmp_path)


def test_a_prototype_that_cannot_be_made_ready_is_said(tmp_path):
    (tmp_path / "ngp.cpp").write_text("")
    (tmp_path / "prepare.py").write_text("raise SystemExit('no photos')")
    with pytest.raises(UserError, match=r"cannot be measured here: .*: no photos"):
        Prototype(tmp_path, tmp_path, tmp_path)
