"""Training of the patch classifier SAPCNN (Chen et al. 2018) from samples: patches at the centres of superpixels."""

from __future__ import annotations

from lakecube.errors import MissingDependencyError
from lakecube.models.samples import Samples
from lakecube.models.train import Request, Trained


def train_patches(samples: Samples, request: Request) -> Trained:
    """As `lakecube.models.train.train`, with the preset of Chen et al.

    Raises
    ------
    MissingDependencyError
        This version has no SAPCNN.
    """
    raise MissingDependencyError("this version of lakecube cannot train 'sapcnn' yet; train another architecture")
