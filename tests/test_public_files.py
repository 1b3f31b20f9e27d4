"""The files that a public forge and package index read are valid and up to date."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from helpers.documented_code import ROOT

import adcc_onnx

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read_yaml(name: str) -> Any:
    return pytest.importorskip("yaml").safe_load((ROOT / name).read_text("utf-8"))


def test_the_citation_names_this_version() -> None:
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"]
    assert str(citation["version"]) == adcc_onnx.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Source"]
    assert citation["authors"] and citation["references"][0]["doi"].startswith("10.")


def test_the_changelog_has_the_kinds_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", one) for one in versions[1:])
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_workflow_runs_everything_and_all_supported_versions() -> None:
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    assert any(step.get("run") == ".ci/run" for step in jobs["complete"]["steps"])
    matrix = jobs["platforms"]["strategy"]["matrix"]
    supported = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "3." in c]
    assert matrix["python"] == supported
    assert {name.partition("-")[0] for name in matrix["system"]} == {"ubuntu", "macos", "windows"}
    (install,) = [s["run"] for s in jobs["platforms"]["steps"] if "pip" in s.get("run", "")]
    extras = re.findall(r"\[(.*)\]", install)[0].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_issue_forms_have_what_a_forge_requires(name: str) -> None:
    form = read_yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"] and form["description"]
    for field in form["body"]:
        assert field["type"] == "textarea" and field["attributes"]["label"] and field["id"]


def test_hooks_run_the_linter_of_the_project() -> None:
    repositories = read_yaml(".pre-commit-config.yaml")["repos"]
    hooks = [hook["id"] for repository in repositories for hook in repository["hooks"]]
    assert {"ruff-check", "ruff-format"} <= set(hooks)
