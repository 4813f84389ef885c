"""Olfaction of the fly: ten classes of odours, from spike counts of fifty kinds of projection neurons.

neurosparse compare models/olfaction         # expansion to Kenyon cells beside networks with all weights trained
"""

import torch
from torch import Tensor

import neurosparse as ns

ODOURS, MEANINGS, GLOMERULI = 200, 10, 50
WINDOW = 0.1  # seconds in which spikes are counted


def projection_neurons(receptors: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson counts of the spikes of projection neurons in one sniff, as a share of the largest expected count.

    Concentration differs from sniff to sniff by a factor of about two. Rates in hertz are from Olsen, Bhandawat &
    Wilson 2010: ``165 R^1.5 / (12^1.5 + R^1.5 + (10.63 sum(R) / 190)^1.5)``, R the rate of receptor neurons.
    """
    rates = receptors * 2 ** (0.5 * torch.randn(len(receptors), 1, generator=generator))
    lateral = 10.63 * rates.sum(1, keepdim=True) / 190
    rates = 165 * rates**1.5 / (12**1.5 + rates**1.5 + lateral**1.5)
    return torch.poisson(WINDOW * rates, generator=generator) / (WINDOW * 165)


def data() -> ns.Split:
    """Random odours, each with one of ten arbitrary classes; new sniffs of them for validation and test.

    The rates of receptor neurons are exponentially distributed, 30 hertz in the mean, as in Hallem &
    Carlson 2006; odours of one class have nothing in common, so that near odours need not have the same class.
    """
    generator = torch.Generator().manual_seed(0)
    odours = 30 * torch.empty(ODOURS, GLOMERULI).exponential_(generator=generator)
    meaning = torch.arange(ODOURS) % MEANINGS
    return ns.Split(*((projection_neurons(odours.repeat(n, 1), generator), meaning.repeat(n)) for n in (12, 4, 10)))


task = ns.Task(
    name="olfaction",
    title="Olfaction: 200 odours of 50 glomeruli, ten meanings",
    data=data,
    hidden=(2000,),  # the number of Kenyon cells of the fly
    classes=MEANINGS,
    epochs=10,
    batch_size=50,
    learning_rates=(0.003, 0.01),
)
