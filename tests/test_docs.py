"""README, CONTRIBUTING and the site: commands are understood, Python compiles, and nearly all of it runs."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lakecube
from lakecube import chunked
from lakecube.arguments import parser
from lakecube.kernels.histogram import ThresholdParams
from lakecube.kernels.levels import LevelParams
from lakecube.kernels.rules import RuleParams
from lakecube.methods.provenance import PAPERS
from lakecube.series.shape import LakeParams
from tests.documents import OTHERS, ROOT, blocks, commands, pages

#: Pages whose commands start services or are for machines that are not here; they are parsed, and have their own tests.
SERVICES = {"cluster-local.md", "cluster-kubernetes.md", "cluster-slurm.md", "faults.md", "scale.md", "security.md"}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_what_a_page_says_is_understood(page):
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.source, block.place)
        for words in commands(block):
            if words[0] == "lakecube" and "--list-parameters" not in words:
                text = [word for word in words[1:] if word != "|"]
                assert parser().parse_args(text[: text.index(">")] if ">" in text else text).command == words[1]


@pytest.mark.parametrize("page", [p for p in pages() if p.name not in SERVICES], ids=lambda page: page.name)
def test_every_other_command_is_known(page):
    """So that none stands in a page without anybody who runs it."""
    for block in blocks(page):
        for words in commands(block):
            line = " ".join(words)
            if words[0] == "lakecube" or block.language not in ("bash", "sh", "console") or block.why_not:
                continue
            assert any(line.startswith(known) for known in OTHERS), f"{block.place}: {line}"
            if line.startswith("python -m "):
                assert importlib.util.find_spec(words[2]), block.place
            for word in words:
                assert not word.startswith("tests/") or (ROOT / word.split("::")[0]).exists(), block.place


def test_the_reference_holds_every_public_function_of_arrays():
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: (\S+)$", page, re.MULTILINE))
    for module in ("accessor", "methods", "detect.composite", "series.lakes", "series.restore", "models.predictor"):
        importlib.import_module(f"lakecube.{module}")
    within = {"lakecube.methods.provenance.finished", "lakecube.series.occurrence.checked_mask"}
    shown = {name for name in chunked.LAWS if name.startswith("lakecube.")} - within
    assert shown <= named, sorted(shown - named)


def _hooks():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_and_what_is_made_can_be_made():
    hooks = _hooks()
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert there <= listed
    assert listed - there <= SERVICES
    for page in there:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for maker in re.findall(r"<!-- generate: (\w+)", text):
            assert maker in hooks.MAKERS, page
    assert "| 255 | `unknown`" in hooks.generated("<!-- generate: flags water_mask -->")
    assert "| 3 | 8 | `nir` |" in hooks.generated("<!-- generate: flags rules_fired -->")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    python = (tmp_path / "site/reference/python.html").read_text(encoding="utf-8")
    assert "lakecube.detect.threshold.threshold" in python and "10.1109/TSMC.1979.4310076" in python
    for page in Path(tmp_path / "site").rglob("*.html"):
        assert "<!-- generate" not in page.read_text(encoding="utf-8")


def test_version_and_papers_are_the_same_wherever_they_stand():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == citation["version"] == lakecube.__version__
    for paper, (method, told) in zip(citation["references"], PAPERS.items(), strict=True):
        first = paper["authors"][0]["family-names"]
        page = (ROOT / f"docs/methods/{method}.md").read_text(encoding="utf-8")
        place = f"{paper['journal']} {paper['volume']}, {paper['start']}"
        assert told == f"{first} et al. ({paper['year']}), {paper['title']}, {place}, {paper['doi']}"
        assert f"https://doi.org/{paper['doi']}" in page and place in page.replace("*", "")
        assert all(author["family-names"] in page for author in paper["authors"])


def _signed(value):
    return f"{value:g}".replace("-", "−")


def test_numbers_of_the_methods_are_those_of_the_code():
    t, r, lakes, levels = ThresholdParams(), RuleParams(), LakeParams(), LevelParams()
    (m, a), low, high = t.fixed, [_signed(v) for v in t.lower], [_signed(v) for v in t.upper]
    w = r.contrast_weight
    said = {
        "fusion": (
            f"NDVI > {r.ndvi_max:g}   NDBI > {_signed(r.ndbi_max)}   NDREI > {r.ndrei_max:g}   nir > {r.nir_max:g}   "
            f"nir09 > {r.nir09_max:g}   slope > {r.slope_max:g}°",
            f"MNDWI {m:g} within {low[0]} … {high[0]}, AWEIsh {a:g} within {low[1]} … {high[1]}",
            f"≥ {t.min_separability:g}", f"≥ {t.min_valley:g}",
            f"{t.min_class_share:.0%}".replace("%", " % of the pixels"),
            f"t = fixed + {t.weight:g} · (Otsu", f"/ (max(a + b, 0) + {r.noise:g})",
            f"{w:g} · c(green, swir16, t_MNDWI) + {r.ndwi_weight:g} · c(green, nir, {r.ndwi_min:g})",
            f"clip((AWEIsh − t_AWEIsh) / {r.awei_sh_span:g}, −{r.awei_sh_weight:g}, {r.awei_sh_weight:g})",
            f"{w:g} · c(nir, red, {r.ndvi_start:g}), {w:g} · c(swir16, nir, {_signed(r.ndbi_max)}), "
            f"{w:g} · c(nir, rededge1, {r.ndrei_max:g})",
            f"{r.nir_weight:g} · (nir − {r.nir_max:g}), {r.nir_weight:g} · (nir09 − {r.nir09_max:g}), "
            f"{r.slope_weight:g} · (slope − {r.slope_max:g}°)",
            f"{r.neighbour_weight:g} · (min(mean of the neighbours' probabilities / {r.neighbour_full:g}, 1) − "
            f"{r.neighbour_neutral:g})",
            f"log-odds less {r.neighbour_sure:g}",
        ),
        "areas": (
            f"at least {lakes.min_frequency:.0%}".replace("%", " %"), f"fewer than {lakes.min_pixels} pixels",
            "lakes {:g}–{:g} and {:g}–{:g}".format(*lakes.lake_shapes[0], *lakes.lake_shapes[1]),
            f"{levels.error:.0%}".replace("%", " % of errors"), f"weight of {levels.trust:g} per pixel",
        ),
    }  # fmt: skip
    for page, sentences in said.items():
        text = (ROOT / f"docs/methods/{page}.md").read_text(encoding="utf-8")
        for sentence in sentences:
            assert sentence in text, sentence
