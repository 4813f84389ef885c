"""Training steps of pcx, written as in its examples; served by serve.py."""

from typing import Any

import jax
import optax
import pcx.functional as pxf
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
import pcx.utils as pxu
from serve import DT, LAYERS, RATE, Subject, T, X, Y, serve

CACHE = pxc.VodeParam.Cache
BATCHED = pxu.M(pxc.VodeParam | CACHE).to((None, 0))
FREE, WEIGHTS = pxu.M_hasnot(pxc.VodeParam, frozen=True), pxu.M(pxnn.LayerParam)


class Model(pxc.EnergyModule):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [pxnn.Linear(*weight.shape[::-1]) for weight, _ in LAYERS]
        for layer, (weight, bias) in zip(self.layers, LAYERS, strict=True):
            layer.nn.weight.set(weight)
            layer.nn.bias.set(bias)
        self.vodes = [pxc.Vode() for _ in LAYERS]
        self.vodes[-1].h.frozen = True

    def __call__(self, x: jax.Array, y: jax.Array | None) -> jax.Array:
        for vode, layer in zip(self.vodes[:-1], self.layers[:-1], strict=True):
            x = vode(jax.nn.relu(layer(x)))
        self.vodes[-1](self.layers[-1](x))
        if y is not None:
            self.vodes[-1].set("h", y)
        return self.vodes[-1].get("u")


@pxf.vmap(BATCHED, in_axes=(0, 0), out_axes=0)
def forward(x: jax.Array, y: jax.Array, *, model: Model) -> jax.Array:
    return model(x, y)


@pxf.vmap(BATCHED, in_axes=(0,), out_axes=(None, 0), axis_name="batch")
def energy(x: jax.Array, *, model: Model) -> tuple[jax.Array, jax.Array]:
    out = model(x, None)
    return jax.lax.psum(model.energy(), "batch"), out


def gradient(of: Any, x: jax.Array, model: Model) -> Any:
    with pxu.step(model, clear_params=CACHE):
        _, found = pxf.value_and_grad(of.to([False, True]), has_aux=True)(energy)(x, model=model)
    return found["model"]


@pxf.jit()
def train(x: jax.Array, y: jax.Array, *, model: Model, adam: pxu.Optim, relax: pxu.Optim) -> None:
    model.train()
    with pxu.step(model, pxc.STATUS.INIT, clear_params=CACHE):
        forward(x, y, model=model)
    relax.init(FREE(model))
    for _ in range(T):
        relax.step(model, gradient(FREE, x, model))
    relax.clear()
    adam.step(model, gradient(WEIGHTS, x, model), scale_by=1.0 / len(x))


model, relax = Model(), pxu.Optim(lambda: optax.sgd(DT))
adam = pxu.Optim(lambda: optax.adam(RATE), WEIGHTS(model))
with pxu.step(model, pxc.STATUS.INIT, clear_params=CACHE):  # states exist before the first step: one compilation
    forward(X, Y, model=model)


def step(_: Any) -> Model:
    """One step; the model and the state of Adam change in place."""
    train(X, Y, model=model, adam=adam, relax=relax)
    return model


serve(("pcx", "jax"), {"pcx": Subject(step, model, lambda _: adam.state.get()[0].mu)})
