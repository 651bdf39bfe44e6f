import re
from pathlib import Path

import pytest

from mgral.config import Config, folder_name
from mgral.errors import ConfigError, MgralError
from mgral.params import read_config

SHIPPED = [Path("params.yaml"), *sorted(Path("examples").glob("*.yaml"))]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_shipped_settings_are_valid(path):
    root = Path(__file__).parents[1]
    assert isinstance(read_config(root / path), Config)


def test_an_empty_file_gives_the_defaults(tmp_path):
    assert read_config(write(tmp_path, "")) == Config()


def test_all_faults_are_named_at_once_with_line_and_hint(tmp_path):
    path = write(tmp_path, "device: cpu\ndata:\n  formt: voc\n  labelled: many\nsearch: {agent: {lr: -1}}\ntabel: {}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert sorted(caught.value.problems) == [
        f"{path}:3: data.formt: unknown setting; did you mean 'format'?",
        f"{path}:4: data.labelled: expected a valid integer, got 'many'",
        f"{path}:5: search.agent.lr: expected a number greater than 0, got -1",
        f"{path}:6: tabel: unknown setting; did you mean 'table'?",
    ]


def test_an_unknown_setting_without_a_near_match_lists_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match=r"detector\.zzz: unknown setting; expected one of preset, config, "):
        read_config(write(tmp_path, "detector: {zzz: 1}\n"))


@pytest.mark.parametrize(("study", "fault"), [
    ("strategies: [mgral, mgral]", "expected each of the strategies once and at least one, got ['mgral', 'mgral']"),
    ("strategies: [a/mine.py, mine]", "expected each of the strategies once and at least one, got ['mine', 'mine']"),
    ("strategies: []", "expected each of the strategies once and at least one, got []"),
    ("seeds: [1, 0, 1]", "expected each of the seeds once and at least one, got [1, 0, 1]"),
    ("strategies: [../up, '', prepared, a b]", "expected names of strategies of letters, digits, _ and -, other than "
                                               "scenes, prepared, seconds, got '../up', '', 'prepared', 'a b'")])
def test_a_study_has_each_strategy_and_seed_once(tmp_path, study, fault):
    with pytest.raises(ConfigError, match=re.escape(f"params.yaml:1: study: {fault}") + "$"):
        read_config(write(tmp_path, f"study: {{{study}}}\n"))


def test_a_strategy_may_be_a_file(tmp_path):
    study = read_config(write(tmp_path, "study: {strategies: [random, ../mine/entropy.py]}\n")).study
    assert [folder_name(strategy) for strategy in study.strategies] == ["random", "entropy"]


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"study\.seeds\.0: expected a number greater than or equal to 0, got -1"):
        read_config(write(tmp_path, "study: {seeds: [-1]}\n"))


def test_a_shortlist_smaller_than_the_budget_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a table\.shortlist of at least study\.budget, 40 images, got 39; "
                                          r"raise it or leave it out$"):
        read_config(write(tmp_path, "table: {shortlist: 39}\nstudy: {budget: 40}\n"))
    assert read_config(write(tmp_path, "table: {shortlist: 40}\nstudy: {budget: 40}\n")).table.shortlist == 40


def test_a_choice_outside_the_list_names_the_choices(tmp_path):
    with pytest.raises(ConfigError, match=r"table\.design: expected 'random' or 'spread', got 'sprad'"):
        read_config(write(tmp_path, "table: {design: sprad}\n"))


@pytest.mark.parametrize(("text", "message"), [
    ("- a\n- b\n", "expected sections such as `data:`, got list"),
    ("a: [1\nb: 2\n", r"params.yaml:2: expected YAML"),
])
def test_what_is_not_a_settings_file_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: expected a params file, got No such file or directory"):
        read_config(tmp_path / "nowhere.yaml")


def test_yaml_cannot_make_objects(tmp_path):
    with pytest.raises(ConfigError, match="expected YAML"):
        read_config(write(tmp_path, "device: !!python/object/apply:os.system ['true']\n"))


def test_an_error_needs_a_problem():
    with pytest.raises(ValueError, match="expected at least one problem"):
        MgralError()


@pytest.mark.parametrize(("table", "fault"), [
    ("{measurements: 4, rungs: [2, 1]}", "expected rungs that rise and lie before the last of 4 measurements, got "
                                        "[2, 1]"),
    ("{measurements: 2, rungs: [2]}", "expected rungs that rise and lie before the last of 2 measurements, got [2]"),
    ("{records: 8, measurements: 4, rungs: [1, 2]}", "expected rungs that leave at least 3 whole trainings to "
                                                     "judge the others by, got 2 of 8 records")])
def test_settings_of_the_table_fit_together(tmp_path, table, fault):
    with pytest.raises(ConfigError, match=re.escape(f"params.yaml:1: table: {fault}")):
        read_config(write(tmp_path, f"table: {table}"))
