"""What is printed: four encodings, four widths, closed pipes, full disks and hostile names."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.command_line import command
from helpers.small_models import small
from helpers.stored_runs import per_image_run, three_methods, write_run
from PIL import Image

from adcc_onnx.cli.command_group import main
from adcc_onnx.report.rendering import render, render_per_image
from adcc_onnx.results.store import Store

ENCODINGS = ("utf-8", "cp1252", "latin-1", "ascii")
WIDTHS = (40, 80, 120, 200)
# What stands for the characters of reports that an encoding may lack.
PLAIN = {"≈": "~", "·": "|", "↑": "^", "↓": "v", "≥": ">=", "×": "x", "±": "+-", "–": "-"}
COMMANDS = tuple(main.list_commands(None))  # type: ignore[arg-type]
# A terminal's escape, a right-to-left override, a new line and letters of three scripts.
HOSTILE = "\x1b[31m\u202egnp.exe\nй中é.png"
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A run whose images have hostile names, one of which failed."""
    path = tmp_path / "run.sqlite"
    with Store.create(path) as store:
        write_run(store, three_methods(12), [f"{i}{HOSTILE}" for i in range(12)], model="nét中")
    return path


def printed(
    encoding: str, columns: int, monkeypatch: pytest.MonkeyPatch, *words: str | Path
) -> tuple[str, str, int]:
    """Run the command line in this process on streams of an encoding."""
    streams = {name: io.BytesIO() for name in ("stdout", "stderr")}
    with monkeypatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        for name, stream in streams.items():
            text = io.TextIOWrapper(stream, encoding)
            patch.setattr(sys, name, text)
            patch.setattr(sys, f"__{name}__", text)
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words], prog_name="adcc-onnx")
        # Not strict about the end of lines, but about every byte.
        found = [stream.getvalue().decode(encoding) for stream in streams.values()]
    code = ended.value.code
    return found[0], found[1], code if isinstance(code, int) else 1


def plain(text: str, encoding: str) -> str:
    """Return what a text becomes in an encoding."""

    def of(character: str) -> str:
        try:
            return character.encode(encoding).decode(encoding)
        except UnicodeEncodeError:
            return PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode()

    return "".join(map(of, text))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_reports_are_right_in_every_encoding(
    kept: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(kept) as store:
        wanted = {style: render([store], style) for style in ("table", "csv", "json", "latex")}
    for style, text in wanted.items():
        found, said, code = printed(encoding, 80, monkeypatch, "report", kept, "--format", style)
        assert (found, said, code) == (plain(text, encoding), "", 0)
    table = plain(wanted["table"], encoding)
    assert "≈" in wanted["table"] and "\x1b" not in table and "\u202e" not in table


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_page_keeps_the_encoding_that_it_states(
    kept: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    for name in ("stdout", "__stdout__"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding, newline=""))
    with pytest.raises(SystemExit):
        main(["report", str(kept), "--format", "html"])
    assert "nét中" in stream.getvalue().decode("utf-8")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("columns", WIDTHS)
def test_every_command_prints_its_help(
    encoding: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in ((), *((name,) for name in COMMANDS)):
        found, said, code = printed(encoding, columns, monkeypatch, *words, "--help")
        assert (said, code) == ("", 0) and found.startswith("Usage: adcc-onnx") and found.isascii()
        text = found.partition("Example:")[0]
        if columns >= 80:
            assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("columns", WIDTHS)
def test_lists_comparisons_and_mistakes_print_in_every_encoding(
    kept: Path, encoding: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (("methods",), ("metrics",), ("report", kept, "--compare")):
        found, said, code = printed(encoding, columns, monkeypatch, *words)
        assert found and (said, code) == ("", 0)
    mistakes = (("report", f"й{HOSTILE}.sqlite"), (HOSTILE,), ("evaluate", HOSTILE))
    for words in mistakes:
        found, said, code = printed(encoding, columns, monkeypatch, *words)
        assert found == "" and code in (1, 2) and said.count("\x1b") == said.count("\u202e") == 0
        assert "Traceback" not in said


def test_files_are_utf8_and_never_replaced_by_accident(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = kept.with_name("table.txt")
    words = ("report", kept, "-o", out)
    assert printed("ascii", 80, monkeypatch, *words) == ("", "", 0)
    with Store.open(kept) as store:
        text = render([store], "table")
    assert out.read_bytes() == text.encode()
    out.write_text("mine")
    refused = printed("ascii", 80, monkeypatch, *words)
    assert refused == ("", f"adcc-onnx: {out} exists: choose another name with -o, or replace "
                       "the file with --force\n", 1)  # fmt: skip
    assert out.read_text() == "mine"
    assert printed("ascii", 80, monkeypatch, *words, "--force")[2] == 0
    assert out.read_bytes() == text.encode()
    before = kept.read_bytes()
    found = printed("ascii", 80, monkeypatch, "report", kept, "--force", "-o", kept)
    assert "is an input, which is never replaced" in found[1] and found[2] == 1
    assert kept.read_bytes() == before
    missing = kept.parent / "none" / "table.txt"
    found = printed("ascii", 80, monkeypatch, "report", kept, "-o", missing)
    assert found[1].startswith(f"adcc-onnx: cannot write {missing}: No such file") and found[2] == 1
    assert sorted(p.name for p in kept.parent.iterdir()) == ["run.sqlite", "table.txt"]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_csv_holds_no_formula_and_numbers_stay_numbers(sign: str) -> None:
    with per_image_run(f"{sign}1+1.png", model=f"{sign}net") as store:
        rows = list(csv.reader(io.StringIO(render_per_image([store], "csv"))))
    for row in rows[1:]:
        for cell in row:
            try:
                float(cell)
            except ValueError:
                assert not cell.startswith((sign, "=", "+", "-", "@", "\t", "\r"))
    shown = {"\t": "\\t", "\r": "\\r"}.get(sign, sign)
    assert {row[0] for row in rows[1:]} == {f"'{shown}net"}
    assert f"'{shown}1+1.png" in rows[1]


def test_closed_pipes_and_full_disks(kept: Path, tmp_path: Path) -> None:
    """A closed pipe ends the process as it ends `cat`; anything else is one line and status 1."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    environment = {**os.environ, **NO_UTF8, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = command("report", kept)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")
    with full.open("wb") as stream:
        done = subprocess.run(words, stdout=stream, stderr=subprocess.PIPE, env=environment)
    unprinted = tmp_path / "cache" / "adcc-onnx" / "unprinted.txt"
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "adcc-onnx: cannot write to standard output: No space left on device; the text is kept in "
        f"{unprinted}\n"
    )
    with Store.open(kept) as store:
        assert unprinted.read_text("utf-8") == render([store], "table")
    # Messages that cannot be printed stop nothing.
    with full.open("wb") as stream:
        done = subprocess.run(
            command("report", kept), stdout=subprocess.PIPE, stderr=stream, env=environment
        )
    assert done.returncode == 0 and done.stdout.decode("ascii").startswith("n\\xe9t\\u4e2d | 12")


def test_a_missing_option_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said, code = printed("ascii", 80, monkeypatch, "evaluate", "net.onnx")
    assert (found, code) == ("", 2) and said.endswith("Error: Missing option '--images'.\n")


def test_a_run_without_a_file_is_kept_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    onnx.save(small("softmax"), tmp_path / "net.onnx")
    (tmp_path / "net.toml").write_text('preset = "unit"\nresize = 8\n')
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    words = [str(tmp_path / "net.onnx"), "--images", str(tmp_path / "a.png")]
    result = CliRunner().invoke(main, ["evaluate", *words, "--method", "gradcam"])
    assert result.exit_code == 0, result.stderr
    (run,) = (tmp_path / "cache" / "adcc-onnx" / "runs").glob("*.sqlite")
    assert f"kept in the cache, which holds the last 10 runs: adcc-onnx report {run}" in (
        result.stderr
    )
    assert CliRunner().invoke(main, ["report", str(run)]).stdout == result.stdout


def test_names_are_the_same_in_an_ascii_locale(tmp_path: Path) -> None:
    """Python holds them as surrogates there, which SQLite and the file system refuse."""
    if sys.platform != "linux":
        pytest.skip("file names are bytes on Linux only")
    folder = tmp_path / "фото"
    folder.mkdir()
    onnx.save(small("softmax"), folder / "nét.onnx")
    (folder / "nét.toml").write_text('preset = "unit"\nresize = 8\n')
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / "中.png")
    environment = {**os.environ, **NO_UTF8, "PYTHONWARNINGS": "ignore"}
    for words in (
        ("explain", folder / "nét.onnx", folder / "中.png", "-o", folder / "mäps"),
        ("evaluate", folder / "nét.onnx", "--images", folder / "中.png", "--method", "fakecam",
         "-o", folder / "é.sqlite"),
    ):  # fmt: skip
        done = subprocess.run(command(*words), capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert "n\\xe9t" in (done.stdout + done.stderr).decode("ascii")
    maps = folder / "mäps"
    assert [p.name for p in (maps / "gradcam.predicted").iterdir()] == ["中.png.npy"]
    pictures = [path.name for path in maps.glob("*.png")]
    assert len(pictures) == 3 and all(name.startswith("中.") for name in pictures)
    with Store.open(folder / "é.sqlite") as store:
        (run,) = store.runs()
        assert (run.config["model"], run.config["images"]) == ("nét", "中.png")
