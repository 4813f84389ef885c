"""End-stopping as Rao & Ballard found it in 1999: error units that answer short bars, and long ones less.

neurosparse bars models/rao-ballard-1999                 # both priors, three seeds each: minutes
"""

from torch import Tensor

import neurosparse as ns
from neurosparse.predictive.rao_ballard import Gaussian, Settings


def images() -> dict[str, Tensor]:
    """The natural photographs of scikit-learn and scikit-image in grey levels, so that sigma = 1 is one of 256."""
    return {name: 255 * image for name, image in ns.io.photographs.natural_images().items()}


# Level 2 as published has alpha = 0.05 and lambda = 0.02. Only their product counts; so shared out, it settles in time.
LEVEL2 = Gaussian(50.0)
# Level 1 as published has alpha = 1 and lambda = 0.02. Under the kurtotic prior, alpha / 2 log(1 + r^2), both are forty
# times as large: the scale of r stays, and the prior is felt within this budget.

task = ns.experiments.BarTask(
    name="rao-ballard-1999",
    title="Rao & Ballard 1999: error units and the length of bars",
    images=images,
    settings={
        "gaussian": Settings((Gaussian(1.0), LEVEL2), rates=(0.1, 1000.0), decays=(0.02, 2e-5)),
        "kurtotic": Settings((ns.log(20.0), LEVEL2), rates=(0.1, 1000.0), decays=(0.8, 2e-5)),
    },
)
