"""Build backend: setuptools, with an editable install that is a package in site-packages.

The editable install of setuptools is a finder that Python asks last. In the folder above a checkout named
``neurosparse`` Python finds that folder first, takes it for a package without content, and asks no further. A package
in site-packages precedes such a folder; this one loads the package of the checkout in its place. Nothing else of the
checkout becomes importable.
"""

import base64
import hashlib
import zipfile
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  # the other functions of a backend

CHECKOUT = Path(__file__).resolve().parents[1] / "neurosparse"
PACKAGE = """import importlib.util, sys

_spec = importlib.util.spec_from_file_location(
    __name__, {init!r}, submodule_search_locations=[{folder!r}]
)
sys.modules[__name__] = importlib.util.module_from_spec(_spec)  # what the import statement then binds
_spec.loader.exec_module(sys.modules[__name__])
"""


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """The wheel of setuptools, with the package above in place of its finder."""
    name = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    path = Path(wheel_directory, name)
    with zipfile.ZipFile(path) as wheel:
        parts = {part: wheel.read(part) for part in wheel.namelist() if ".dist-info/" in part}
    package = PACKAGE.format(init=str(CHECKOUT / "__init__.py"), folder=str(CHECKOUT))
    parts = {"neurosparse/__init__.py": package.encode(), **parts}
    record = next(part for part in parts if part.endswith(".dist-info/RECORD"))
    parts[record] = "".join(_row(part, content) for part, content in parts.items() if part != record).encode()
    parts[record] += f"{record},,\n".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for part, content in parts.items():
            wheel.writestr(part, content)
    return name


def _row(part: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{part},sha256={digest},{len(content)}\n"
