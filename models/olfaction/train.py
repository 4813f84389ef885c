"""Odours as a fly smells them: which of ten meanings each has, from spikes of fifty kinds of projection neurons.

neurosparse compare models/olfaction         # expansion to Kenyon cells beside networks that train all their weights
"""

import torch
from torch import Tensor

import neurosparse as ns

ODOURS, MEANINGS, GLOMERULI = 200, 10, 50
WINDOW = 0.1  # seconds in which a fly counts spikes


def smell(receptors: Tensor, generator: torch.Generator) -> Tensor:
    """Spikes that projection neurons fire in one sniff, in units of the most that they can: Poisson counts.

    Concentration differs from sniff to sniff by a factor of about two. Rates in hertz are those of Olsen, Bhandawat &
    Wilson 2010: ``165 R^1.5 / (12^1.5 + R^1.5 + (10.63 sum(R) / 190)^1.5)``, R what receptor neurons of one kind fire.
    """
    rates = receptors * 2 ** (0.5 * torch.randn(len(receptors), 1, generator=generator))
    lateral = 10.63 * rates.sum(1, keepdim=True) / 190
    rates = 165 * rates**1.5 / (12**1.5 + rates**1.5 + lateral**1.5)
    return torch.poisson(WINDOW * rates, generator=generator) / (WINDOW * 165)


def data() -> ns.Split:
    """Random odours, each with one of ten meanings that no smell predicts; new sniffs of them to validate and test.

    The rates of receptor neurons are exponentially distributed, 30 hertz in the mean, as Hallem & Carlson 2006 found
    them; odours of one meaning have nothing in common, so that what is near need not mean the same.
    """
    generator = torch.Generator().manual_seed(0)
    odours = 30 * torch.empty(ODOURS, GLOMERULI).exponential_(generator=generator)
    meaning = torch.arange(ODOURS) % MEANINGS
    return ns.Split(*((smell(odours.repeat(n, 1), generator), meaning.repeat(n)) for n in (12, 4, 10)))


task = ns.Task(
    name="olfaction",
    title="Olfaction: 200 odours of 50 glomeruli, ten meanings",
    data=data,
    hidden=(2000,),  # as many as the fly has Kenyon cells
    classes=MEANINGS,
    epochs=10,
    batch_size=50,
    learning_rates=(0.003, 0.01),
)
