"""Training steps of jpc, and of backpropagation in JAX; served by serve.py."""

from typing import Any

import equinox as eqx
import equinox.nn as nn
import jax
import jpc
import optax
from serve import DT, LAYERS, RATE, Subject, T, X, Y, serve

ADAM = optax.adam(RATE)
# The energy of jpc is a mean over samples, so the step of a state is as many times longer.
RELAX = optax.sgd(DT * len(X))


def linear(weight: jax.Array, bias: jax.Array) -> nn.Linear:
    blank = nn.Linear(weight.shape[1], weight.shape[0], key=jax.random.PRNGKey(0))
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), blank, (weight, bias))


@eqx.filter_jit
def discrete(state: Any, x: jax.Array, y: jax.Array) -> Any:
    """The discrete updates of jpc in an unrolled loop, compiled as one."""
    params, adam = state
    activities = jpc.init_activities_with_ffwd(params[0], x)
    relax = RELAX.init(activities)
    for _ in range(T):
        found = jpc.update_pc_activities(params, activities, RELAX, relax, y, input=x)
        activities, relax = found["activities"], found["opt_state"]
    found = jpc.update_pc_params(params, activities, ADAM, adam, y, input=x)
    return (found["model"], found["skip_model"]), found["opt_state"]


def solver(state: Any, **options: Any) -> Any:
    """The one-line step of jpc: by default Heun's method with step control, up to t = 20."""
    found = jpc.make_pc_step(state[0][0], ADAM, state[1], Y, input=X, **options)
    return (found["model"], found["skip_model"]), found["opt_state"]


@eqx.filter_jit
def backprop(state: Any, x: jax.Array, y: jax.Array) -> Any:
    def loss(params: Any) -> jax.Array:
        signal = x
        for layer in params[0]:
            signal = jax.vmap(layer)(signal)
        return 0.5 * ((y - signal) ** 2).sum() / len(x)

    params, adam = state
    updates, adam = ADAM.update(eqx.filter_grad(loss)(params), adam, params)
    return eqx.apply_updates(params, updates), adam


*hidden, last = [linear(*layer) for layer in LAYERS]
params = ([*(nn.Sequential([layer, nn.Lambda(jax.nn.relu)]) for layer in hidden), last], None)
start = params, ADAM.init(eqx.filter(params, eqx.is_array))
steps = {
    "jpc, discrete": lambda state: discrete(state, X, Y),
    "jpc, ODE default": solver,
    "jpc, ODE as far": lambda state: solver(state, max_t1=round(T * DT * len(X))),
    "JAX backprop": lambda state: backprop(state, X, Y),
}
serve(("jpc", "jax"), {name: Subject(step, start, lambda state: state[1][0].mu) for name, step in steps.items()})
