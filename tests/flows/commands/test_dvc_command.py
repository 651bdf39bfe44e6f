"""`mgral dvc` and what `mgral check` says of its file."""

import sys
from pathlib import Path

import pytest

from flows import cli
from flows.commands.dvc import check_stages
from mgral.errors import ConfigError
from mgral.params import read_config


@pytest.fixture
def params(tmp_path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text("study: {name: s, cycles: 1}\n")
    return path


def dvc(params: Path, monkeypatch, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", ["mgral", "dvc", "--params", str(params), *more])
    cli.main()


def faults(params: Path, monkeypatch, capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        dvc(params, monkeypatch)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_it_writes_and_writes_again(params, monkeypatch):
    dvc(params, monkeypatch)
    first = (params.parent / "dvc.yaml").read_text()
    assert "  mgral-1:" in first
    assert "- flows" not in first, "no folder of source lies here"
    check_stages(params, read_config(params))
    params.write_text("study: {name: s, cycles: 2}\n")
    dvc(params, monkeypatch)
    assert "  mgral-2:" in (params.parent / "dvc.yaml").read_text()


def test_a_file_that_somebody_else_made_stays(params, monkeypatch, capsys):
    path = params.parent / "dvc.yaml"
    path.write_text("stages: {}\n")
    said = faults(params, monkeypatch, capsys)
    assert said == (f"mgral: {path}: expected no file or one that `mgral dvc` made, got another; move its stages "
                    "elsewhere, or write over it with --force\n")
    check_stages(params, read_config(params))
    assert path.read_text() == "stages: {}\n"
    dvc(params, monkeypatch, "--force")
    assert "  mgral-1:" in path.read_text()


def test_dvc_reads_params_yaml_only(params, monkeypatch, capsys):
    said = faults(params.rename(params.with_name("mine.yaml")), monkeypatch, capsys)
    assert "expected a file called params.yaml, where DVC looks for settings, got mine.yaml; copy it" in said


@pytest.mark.parametrize("text", ["study: {name: s, cycles: 2}\n", "study: {name: s, cycles: 1}\ndevice: cpu\n"])
def test_settings_that_need_other_stages_are_found(params, monkeypatch, text):
    dvc(params, monkeypatch)
    params.write_text(text)
    with pytest.raises(ConfigError, match=rf"expected the stages of {params}, got others; type `mgral dvc --params "
                                        rf"{params}` to write them anew"):
        check_stages(params, read_config(params))


def test_a_setting_that_was_taken_out_is_found(params, monkeypatch):
    params.write_text("study: {name: s, cycles: 1}\ndevice: cpu\n")
    dvc(params, monkeypatch)
    params.write_text("study: {name: s, cycles: 1}\n")
    with pytest.raises(ConfigError, match="got others; type `mgral dvc"):
        check_stages(params, read_config(params))
    dvc(params, monkeypatch)
    assert "device" not in (params.parent / "dvc.yaml").read_text()
    check_stages(params, read_config(params))


def test_a_broken_file_is_found(params, monkeypatch):
    dvc(params, monkeypatch)
    path = params.parent / "dvc.yaml"
    path.write_text(path.read_text() + "]")
    with pytest.raises(ConfigError, match="got others; type `mgral dvc"):
        check_stages(params, read_config(params))
