"""Licences: the top file names what has terms of its own, and what holds for its pictures."""

import re

from kdlab.files import ROOT

LICENSE = " ".join((ROOT / "LICENSE").read_text("utf-8").split())


def test_the_licence_names_every_vendored_package_and_the_images():
    for name in ("ONNX Runtime Web", "reveal.js", "KaTeX", "SIL Open Font License 1.1"):
        assert name in LICENSE
    for name in ("axe-core", "MPL-2.0", "github.com/dequelabs/axe-core", "CC BY-SA 3.0"):
        assert name in LICENSE
    assert "CIFAR-10 pictures have no stated licence" in LICENSE


def test_the_data_readme_names_pictures_and_scripts_that_exist():
    text = (ROOT / "data/README.md").read_text("utf-8")
    names = re.findall(r"`(results/[\w.-]+\.png)`", text)
    assert names and all((ROOT / "data" / name).exists() for name in names)
