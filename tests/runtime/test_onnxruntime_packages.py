"""Environments without onnxruntime, with a damaged one, and with two that overwrite each other."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import click
import onnxruntime
import pytest
from helpers.fake_packages import fake_package

import adcc_onnx
from adcc_onnx.cli import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.runtime import onnxruntime_packages as packages

ROOT = Path(adcc_onnx.__file__).parents[1]
MODEL = str(classifier_path())
MISSING = f"no onnxruntime is installed; run: pip install {packages.recommended()}"
WITHOUT = {
    "methods": ("methods",),
    "metrics": ("metrics",),
    "report": ("report", "run.sqlite"),
    "report --compare": ("report", "run.sqlite", "--compare", "--format", "json"),
    "merge": ("merge", "run.sqlite", "other.sqlite", "-o", "merged.sqlite"),
}
NEEDS = {
    "inspect": ("inspect", MODEL),
    "evaluate": ("evaluate", MODEL, "--images", "drawings:2"),
    "explain": ("explain", MODEL, "drawings:1", "-o", "maps"),
    "expose": ("expose", MODEL, "-o", "new.onnx"),
    "bake": ("bake", MODEL, "--method", "gradcam", "-o", "new.onnx"),
    "validate-metrics": ("validate-metrics", "--images", "drawings:2"),
    "randomize": ("randomize", MODEL, "--images", "drawings:2"),
    "benchmark": ("benchmark", MODEL),
    "demo": ("demo",),
}

RUN_COMMANDS = """
import json, sys
from click.testing import CliRunner
from adcc_onnx.cli import main
found = {}
for name, words in json.loads(sys.argv[1]).items():
    result = CliRunner().invoke(main, words)
    found[name] = [result.exit_code, result.stdout, result.stderr]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed packages except those of onnxruntime, as links in a folder."""
    folder = tmp_path_factory.mktemp("site-packages")
    for source in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(source).iterdir():
            if not entry.name.startswith(("onnxruntime", "ort_", "__pycache__")):
                (folder / entry.name).symlink_to(entry)
    return folder


def run(bare: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program that finds no packages but those in `bare`."""
    paths = os.pathsep.join([str(ROOT), str(bare)])
    return subprocess.run(
        [sys.executable, "-S", *words],  # -S: no site-packages
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs on different images."""
    path = tmp_path_factory.mktemp("runs")
    for name, images in (("run", "drawings:2"), ("other", "drawings:2@7")):
        out = path / f"{name}.sqlite"
        adcc_onnx.evaluate(MODEL, images, ["gradcam"], ["adcc"], out=out, device="cpu")
    return path


def run_commands(
    bare: Path, folder: Path, commands: dict[str, tuple[str, ...]]
) -> dict[str, list[object]]:
    """Run commands in one process; returns [status, standard output, standard error] of each."""
    done = run(bare, folder, "-c", RUN_COMMANDS, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


def test_commands_that_run_no_model_need_no_onnxruntime(bare: Path, runs: Path) -> None:
    for name, (status, output, errors) in run_commands(bare, runs, WITHOUT).items():
        assert (status, errors) == (0, ""), name
        assert output or name == "merge", name


def test_commands_that_run_a_model_say_how_to_install_one(bare: Path, tmp_path: Path) -> None:
    found = run_commands(bare, tmp_path, NEEDS)
    assert found == {name: [1, "", f"adcc-onnx: {MISSING}\n"] for name in NEEDS}
    assert not list(tmp_path.iterdir())


def test_an_export_needs_no_onnxruntime(bare: Path, tmp_path: Path) -> None:
    """The network's framework is asked for, which comes first."""
    found = run_commands(bare, tmp_path, {"export": ("export", "caffe:resnet50")})
    assert found["export"] == [
        1,
        "",
        "adcc-onnx: there is no recipe for 'caffe'; choose torchvision, timm, transformers, keras, "
        "flax, paddle, sklearn, onnx\n",
    ]


def test_all_help_pages_are_shown_without_onnxruntime(bare: Path, tmp_path: Path) -> None:
    program = """
import click
from adcc_onnx.cli import main
for name in [None, *main.list_commands(click.Context(main))]:
    main([*([name] if name else []), "--help"], standalone_mode=False)
"""
    done = run(bare, tmp_path, "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: ") == 1 + len(main.list_commands(click.Context(main)))


def test_the_python_api_raises_an_error_with_the_command(bare: Path, tmp_path: Path) -> None:
    program = """
import adcc_onnx as adcc
assert "gradcam" in [method.name for method in adcc.list_methods()]
try:
    adcc.load
except adcc.InstallationError as error:
    print(error)
"""
    assert run(bare, tmp_path, "-c", program).stdout == f"{MISSING}\n"


def test_doctor_reports_a_missing_onnxruntime(bare: Path, tmp_path: Path) -> None:
    done = run(bare, tmp_path, "-m", "adcc_onnx", "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith(
        f"problem: no onnxruntime is installed\n    fix: pip install {packages.recommended()}\n"
    )


def module_of(folder: Path, text: str) -> None:
    (folder / "onnxruntime").mkdir()
    (folder / "onnxruntime" / "__init__.py").write_text(text)


def overlaid(bare: Path, folder: Path) -> Path:
    """A folder that Python searches before `bare`."""
    folder.mkdir()
    return Path(f"{folder}{os.pathsep}{bare}")


def test_two_packages_whose_mixture_is_importable_cause_a_warning(
    bare: Path, tmp_path: Path
) -> None:
    """The files are those of the onnxruntime that the tests run with."""
    site = overlaid(bare, tmp_path / "site")
    for name, version in (("onnxruntime", "1.99.0"), ("onnxruntime-gpu", onnxruntime.__version__)):
        fake_package(tmp_path / "site", name, version)
    (tmp_path / "site" / "onnxruntime").symlink_to(Path(onnxruntime.__file__).parent)
    done = run(site, tmp_path, "-m", "adcc_onnx", "inspect", MODEL)
    assert done.returncode == 0
    diagnosed = run(site, tmp_path, "-m", "adcc_onnx", "doctor")
    assert (diagnosed.returncode, diagnosed.stderr) == (1, "")
    assert diagnosed.stdout.count("problem: 2 packages of onnxruntime") == 1
    assert done.stderr == (
        "adcc-onnx: 2 packages of onnxruntime overwrite each other's files: onnxruntime, "
        "onnxruntime-gpu; run: pip uninstall -y onnxruntime onnxruntime-gpu && pip install "
        "onnxruntime-gpu\n"
    )


@pytest.mark.parametrize(
    ("names", "text", "said"),
    [
        (
            ("onnxruntime", "onnxruntime-gpu"),
            "raise ImportError('undefined symbol')",
            "2 packages of onnxruntime overwrite each other's files: onnxruntime, onnxruntime-gpu; "
            "run: pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        ),
        (
            ("onnxruntime-gpu",),
            "raise ImportError('undefined symbol')",
            "onnxruntime-gpu does not work: undefined symbol; run: pip install --force-reinstall "
            "--no-deps onnxruntime-gpu",
        ),
        (
            ("onnxruntime-gpu",),
            "__version__ = '1.31.1'",
            "onnxruntime-gpu does not work: its files are incomplete; run: pip install "
            "--force-reinstall --no-deps onnxruntime-gpu",
        ),
        (
            ("onnxruntime-gpu",),
            "__version__, InferenceSession = '1.22.0', None",
            "onnxruntime 1.22.0 is too old, version 1.23 is needed; run: pip install --upgrade "
            "onnxruntime-gpu",
        ),
    ],
)
def test_a_damaged_installation_ends_in_one_line(
    bare: Path, tmp_path: Path, names: tuple[str, ...], text: str, said: str
) -> None:
    site = overlaid(bare, tmp_path / "site")
    module_of(tmp_path / "site", text)
    for name in names:
        fake_package(tmp_path / "site", name, "1.31.1")
    done = run(site, tmp_path, "-m", "adcc_onnx", "inspect", MODEL)
    assert (done.returncode, done.stderr) == (1, f"adcc-onnx: {said}\n")


def test_files_that_an_uninstallation_left_are_not_an_onnxruntime(
    bare: Path, tmp_path: Path
) -> None:
    """`pip uninstall` of one of two packages removes the files that both contain."""
    site = overlaid(bare, tmp_path / "site")
    (tmp_path / "site" / "onnxruntime" / "capi").mkdir(parents=True)
    fake_package(tmp_path / "site", "onnxruntime-gpu", "1.31.1")
    done = run(site, tmp_path, "-m", "adcc_onnx", "inspect", MODEL)
    assert done.returncode == 1
    assert "onnxruntime-gpu does not work: its files are incomplete" in done.stderr
    assert "pip install --force-reinstall --no-deps onnxruntime-gpu" in done.stderr


def test_packages_in_two_folders_do_not_overwrite_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = [tmp_path / "venv", tmp_path / "user"]
    for folder, name in zip(folders, ("onnxruntime", "onnxruntime-gpu"), strict=True):
        folder.mkdir()
        fake_package(folder, name, "1.31.1")
    monkeypatch.setattr(packages, "_folders", lambda: folders)
    assert [package.name for package in packages.packages_with("onnxruntime")] == [
        "onnxruntime",
        "onnxruntime-gpu",
    ]
    assert not list(packages.overlap_problems("onnxruntime"))


def requirements(extra: str | None) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return list(found)


def test_the_package_itself_depends_on_no_onnxruntime() -> None:
    assert not [line for line in requirements(None) if line.startswith(("onnxruntime", "ort-"))]


@pytest.mark.parametrize("extra", ["gpu", "cuda", "cpu", "openvino", "directml"])
def test_the_bounds_of_the_extras_are_those_that_are_checked(extra: str) -> None:
    lines = [line for line in requirements(extra) if line.startswith("onnxruntime")]
    assert lines
    for line in lines:
        found = re.match(r"onnxruntime[\w-]*(?:\[[\w,]+\])?>=(\d+\.\d+)", line)
        assert found is not None, line
        gpu = line.startswith("onnxruntime-gpu")
        assert packages.release(found[1]) == (packages.MINIMUM_CUDA if gpu else packages.MINIMUM)


def test_cublas_is_for_the_cuda_of_the_installed_onnxruntime() -> None:
    """The extra names it itself: it is not among the requirements of onnxruntime-gpu."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        theirs = requires("onnxruntime-gpu") or []
    except PackageNotFoundError:
        pytest.skip("onnxruntime-gpu is not installed")
    pinned = re.compile(r"nvidia-(cublas|cuda-runtime)~=(\d+)\.")
    found = [found for line in [*requirements("cuda"), *theirs] if (found := pinned.match(line))]
    assert {each[1] for each in found} == {"cublas", "cuda-runtime"}
    assert len({each[2] for each in found}) == 1


def test_no_dependency_brings_an_onnxruntime() -> None:
    """Neither directly nor through others, by the metadata of the installed packages."""
    from importlib.metadata import PackageNotFoundError, requires

    seen, left = set(), [name_of(line) for line in requirements(None)]
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:  # a dependency of another platform
            continue
        left += [name_of(line) for line in lines if "extra ==" not in line]
    assert {"numpy", "llvmlite", "protobuf"} <= seen
    assert not {name for name in seen if name.startswith(("onnxruntime", "ort-"))}


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0].lower().replace("_", "-")


def test_this_environment_is_recognized() -> None:
    names = [package.name for package in packages.packages_with("onnxruntime")]
    assert len(names) == 1 and importlib.util.find_spec("onnxruntime") is not None
    assert packages.import_problem() is None
