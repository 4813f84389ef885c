"""Theorems of predictive coding, checked numerically on one network of the usual size, each with its residual.

make predictive-checks      # prints the table, writes docs/results/predictive-checks.json

The network is 784-256-256-10 with random weights, 128 random samples, float64, one seed. Posteriors are checked on one
layer, 64-128, spikes on 20-32-10. The tests check the same theorems on small networks of every kind.
"""

import platform
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import result
import torch
import torch.nn.functional as F
from sklearn.linear_model import Lasso
from torch import Tensor

import neurosparse as ns
from neurosparse.predictive import Gaussian, spiking

SIZES, SAMPLES = (784, 256, 256, 10), 128
ORDERS = ("act_after", "act_before")


class Row(NamedTuple):
    """One check, which holds where ``reached`` is at most ``bound``."""

    check: str
    measure: str
    reached: float
    bound: float


def network(activation: str = "tanh", sizes: tuple[int, ...] = SIZES, **options) -> ns.PredictiveNetwork:
    torch.manual_seed(0)
    return ns.PredictiveNetwork(sizes, activation, **options).double()


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(10, (SAMPLES,), generator=generator)
    return torch.rand(SAMPLES, 784, generator=generator, dtype=torch.float64), F.one_hot(labels, 10).double()


def furthest(mine: Tensor, other: Tensor) -> float:
    return float((mine - other).detach().abs().max())


def gradients(net: ns.PredictiveNetwork, states) -> list[Tensor]:
    net.learn(states)
    return [parameter.grad for parameter in net.parameters()]


def backprop(net: ns.PredictiveNetwork, x: Tensor, y: Tensor) -> list[Tensor]:
    loss = 0.5 * (net(x) - y).square().sum() / len(x)
    return list(torch.autograd.grad(loss, list(net.parameters())))


def exact_modes() -> Iterator[Row]:
    x, y = data()
    for mode in ("fixed_prediction", "z_il"):
        far = []
        for order in ORDERS:
            net = network(order=order)
            found = gradients(net, net.infer(x, y, mode=mode))
            far += [furthest(*pair) for pair in zip(found, backprop(net, x, y), strict=True)]
        yield Row(f"{mode} learns what backpropagation learns", "largest difference of a gradient", max(far), 1e-12)


def linear_equilibrium() -> Iterator[Row]:
    """``E = r^T S^-1 r / 2``, ``S = sum_l P_l P_l^T``, ``P_l = W_L ... W_{l+1}``, ``e_l = P_l^T S^-1 r``."""
    net, (x, y) = network("identity"), data()
    product = torch.eye(10, dtype=torch.float64)
    products = [product]
    for layer in list(net.layers)[:0:-1]:
        product = product @ layer.weight
        products.insert(0, product)
    residual = y - net(x)
    force = torch.linalg.solve(sum(p @ p.T for p in products), residual.T).T
    energy, z = 0.5 * (residual * force).sum(-1), [x]
    for layer, p in zip(net.layers, products, strict=True):
        z.append(layer(z[-1]) + force @ p)
    states = net.infer(x, y, steps=2000, tol=1e-13, record=False)
    yield Row(
        "a linear network reaches the equilibrium of theory", "energy", furthest(states.energies[-1], energy), 1e-10
    )
    apart = max(furthest(*pair) for pair in zip(states.z, z, strict=True))
    yield Row("a linear network reaches the equilibrium of theory", "states", apart, 1e-10)


def stability() -> Iterator[Row]:
    net, (x, y) = network("identity"), data()
    weights = [layer.weight.detach() for layer in net.layers]
    eye = torch.eye(256, dtype=torch.float64)
    blocks = [eye + weights[1].T @ weights[1], -weights[1].T, eye + weights[2].T @ weights[2]]
    hessian = torch.cat([torch.cat(blocks[:2], 1), torch.cat([blocks[1].T, blocks[2]], 1)])
    bound = 2 / float(torch.linalg.eigvalsh(hessian)[-1])
    estimate = 2 * net.stable_dt(x, y)
    yield Row("dt < 2 / lambda is stable", "bound as estimated, relative", abs(estimate / bound - 1), 0.1)
    energies = net.infer(x, y, dt=0.98 * bound, steps=100, record=False).energies
    yield Row("dt < 2 / lambda is stable", "largest rise, dt = 0.98 bound", rise(energies), 1e-12)
    for what, check in (("curvature", True), ("energy", False)):
        try:
            net.infer(x, y, dt=1.02 * bound, steps=500, check=check, record=False)
            accepted = 1.0
        except ns.InputError:
            accepted = 0.0
        yield Row("dt > 2 / lambda is refused", f"1 if accepted, by the {what}", accepted, 0.0)


def monotone() -> Iterator[Row]:
    x, y = data()
    for activation in ("identity", "tanh", "sigmoid", "softplus", "relu"):
        far = max(rise(network(activation, order=o).infer(x, y, steps=100, record=False).energies) for o in ORDERS)
        bound = 1e-3 if activation == "relu" else 1e-12
        yield Row("energy falls at every step", f"largest rise, {activation}", far, bound)


def rise(energies: Tensor) -> float:
    """The largest rise of the mean energy, over that of the start; 0 where it falls at every step."""
    mean = energies.mean(1)
    return max(0.0, float(mean.diff().max() / mean[0]))


def not_backprop() -> Iterator[Row]:
    """The gradients of strict inference at rest are near those of backpropagation and differ from them."""
    net, (x, y) = network(), data()
    states = net.infer(x, y, steps=2000, tol=1e-9, record=False)
    pairs = zip(gradients(net, states), backprop(net, x, y), strict=True)
    cosines = [float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0)) for a, b in pairs if a.dim() == 2]
    for depth, cosine in enumerate(cosines, 1):
        yield Row("strict inference at rest is not backpropagation", f"cosine of layer {depth}", cosine, 0.999)


def one_layer(dictionary: Tensor, prior) -> ns.PredictiveNetwork:
    net = network("identity", tuple(dictionary.shape), prior={0: prior})
    with torch.no_grad():
        net.layers[0].weight.copy_(dictionary.T)
        net.layers[0].bias.zero_()
    return net


def posteriors() -> Iterator[Row]:
    """One linear layer, its output clamped: 64 causes of 128 values."""
    generator = torch.Generator().manual_seed(2)
    dictionary = F.normalize(torch.randn(64, 128, generator=generator, dtype=torch.float64))
    x = torch.randn(20, 128, generator=generator, dtype=torch.float64)
    rest = {"steps": 20_000, "tol": 1e-13, "record": False}
    found = one_layer(dictionary, Gaussian(0.5)).infer(y=x, **rest).z[0]
    posterior = dictionary @ dictionary.T + 0.5 * torch.eye(64, dtype=torch.float64)
    mean = torch.linalg.solve(posterior, dictionary @ x.T).T
    yield Row("a Gaussian prior gives the posterior mean", "states", furthest(found, mean), 1e-10)

    found = one_layer(dictionary, ns.l1(0.2)).infer(y=x, **rest).z[0]
    peer = Lasso(alpha=0.2 / 128, fit_intercept=False, tol=1e-15, max_iter=1_000_000)
    lasso = np.stack([peer.fit(dictionary.numpy().T, sample).coef_ for sample in x.numpy()])
    code = ns.solve(x, dictionary, ns.l1(0.2), "lca", tol=1e-13, steps=50_000).a
    what = "a Laplace prior gives the LASSO"
    yield Row(what, "states from scikit-learn's Lasso", furthest(found, torch.as_tensor(lasso)), 1e-6)
    yield Row(what, "states from converged LCA", furthest(found, code), 1e-6)


def spikes() -> Iterator[Row]:
    """Mean spikes of a linear network over T steps, beside the errors of inference without spikes."""
    net = network("identity", (20, 32, 10))
    x, y = (part[:8, -size:] for part, size in zip(data(), (20, 10), strict=True))
    rest = net.infer(x, y, steps=5000, tol=1e-12, record=False).errors
    threshold = 2.0
    for steps, bound in ((500, 0.05), (5000, 0.005)):
        states = net.infer(x, y, steps=steps, dt=0.1, error_channel=spiking(threshold))
        sent = states.sent.errors[:steps].mean(0).split([64, 20], -1)
        far = [
            furthest(threshold * (part.unflatten(-1, (2, -1)) * torch.tensor([[1.0], [-1.0]])).sum(-2), error)
            for part, error in zip(sent, rest, strict=True)
        ]
        yield Row("mean spikes tend to the analogue errors", f"errors, {steps} steps", max(far), bound)


CHECKS: tuple[Callable[[], Iterator[Row]], ...] = (
    exact_modes, linear_equilibrium, stability, monotone, not_backprop, posteriors, spikes,
)  # fmt: skip


def main() -> None:
    rows = []
    for row in (row for check in CHECKS for row in check()):
        print(f"{row.check:<51} {row.measure:<37} {row.reached:9.3g}  at most {row.bound:g}", flush=True)
        rows.append(row)
    facts = {
        "network": SIZES,
        "samples": SAMPLES,
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "rows": [{**row._asdict(), "holds": row.reached <= row.bound} for row in rows],
    }
    result.keep("predictive-checks", facts)
    failed = [f"{row.check}: {row.measure}" for row in rows if not row.reached <= row.bound]
    if failed:
        raise SystemExit(f"beyond their bound: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
