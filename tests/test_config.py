import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from mgral.config import Config, folder_name
from mgral.errors import ConfigError, MgralError
from mgral.params import read_config, with_options

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
    ("strategies: [../up, '', prepared, a b]", "expected names of strategies of at most 100 letters, digits, _ and -, "
                                               "other than scenes, prepared, seconds, first, waiting, pulled, export, "
                                               "got '../up', '', 'prepared', 'a b'")])
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
    ("a: [1\nb: 2\n", r"params.yaml:2: expected YAML, here ',' or '\]', got ':'"),
    ("study: {budget: 5}\nstudy: {cycles: 1}\n", r"params.yaml:2: study: expected each key once"),
    ("study: {budget: 010}\n", r"params.yaml:1: expected a number that every reader of YAML takes for the same"),
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
    ("{measurements: 2, source: anew}", "expected 1 of measurements for the source anew, got 2"),
    ("{measurements: 2, rungs: [2]}", "expected rungs that rise and lie before the last of 2 measurements, got [2]"),
    ("{records: 8, measurements: 4, rungs: [1, 2]}", "expected rungs that leave at least 3 whole trainings to "
                                                     "judge the others by, got 2 of 8 records")])
def test_settings_of_the_table_fit_together(tmp_path, table, fault):
    with pytest.raises(ConfigError, match=re.escape(f"params.yaml:1: table: {fault}")):
        read_config(write(tmp_path, f"table: {table}"))


def numbers(section: type[BaseModel] = Config, name: str = "") -> list[tuple[str, str]]:
    """Every setting of numbers, with a file that gives it an absurd one."""
    found = []
    for key, field in section.model_fields.items():
        kind, path = str(field.annotation), f"{name}.{key}".lstrip(".")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += numbers(field.annotation, path)
        elif "int" in kind or "float" in kind:
            absurd = "1.0e+200" if "float" in kind else "1000000000000000000"
            value = f"[{absurd}]" if "tuple" in kind else absurd
            for part in reversed(path.split(".")):
                value = f"{{{part}: {value}}}"
            found.append((path, value))
    return found


@pytest.mark.parametrize(("name", "text"), numbers(), ids=[name for name, _ in numbers()])
def test_no_number_is_out_of_reason(tmp_path, name, text):
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text))
    assert any(name in problem for problem in caught.value.problems)
    assert all("got 1000000000000000000" in problem or "got 1e+200" in problem for problem in caught.value.problems)


def test_absurd_numbers_were_tried_of_all_sections():
    names = [name for name, _ in numbers()]
    assert len(names) > 45
    assert {"study.seeds", "detector.image_size", "table.at_once", "semisup.soft_teacher.jitters"} <= set(names)


@pytest.mark.parametrize(("text", "line"), [
    ("training: {lr: 1e-3}", "training.lr: expected a valid number, got '1e-3'; YAML takes it for text, write 0.001 or "
                             "1.0e-3"),
    ("training: {lr: 2.5E1}", "training.lr: expected a valid number, got '2.5E1'; YAML takes it for text, write 25 or "
                              "2.5e+1"),
    ("training: {steps: 1e3}", "training.steps: expected a valid integer, got '1e3'; YAML takes it for text, write "
                               "1000"),
    ("training: {steps: 1e-3}", "training.steps: expected a valid integer, got '1e-3'"),
    ("training: {lr: 1e99999}", "training.lr: expected a valid number, got '1e99999'"),
    ("training: {lr: '0.001'}", "training.lr: expected a valid number, got '0.001'"),
    ("study: {name: a/b}", "study.name: expected text that matches '^[A-Za-z0-9][A-Za-z0-9._-]*$', got 'a/b'"),
    ("1: 2", "1: expected names of settings, got 1"),
    ('{"a\\nb": 1}', "'a\\nb': unknown setting; expected one of device, data, detector, training, semisup, pool, "
                     "table, search, study, semisup_study, services")])
def test_what_people_write_instead_is_one_line_with_advice(tmp_path, text, line):
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text))
    assert caught.value.problems == (f"{tmp_path / 'params.yaml'}:1: {line}",)


@pytest.mark.parametrize(("length", "fits"), [(100, True), (101, False), (300, False), (100_000, False)])
def test_a_study_has_a_name_that_fits_into_a_path(tmp_path, length, fits):
    path = write(tmp_path, f"study: {{name: {'n' * length}}}\n" if length < 1000 else f"study:\n  name: {'n' * length}")
    if fits:
        assert read_config(path).study.name == "n" * length
    else:
        with pytest.raises(ConfigError, match="study.name: expected text of at most 100 characters, got 'n{99}…$"):
            read_config(path)


@pytest.mark.parametrize("text", ["n" * 201, "ü" * 101, "a/" * 101, "ok/" + "n" * 300 + "/ok"])
@pytest.mark.parametrize("setting", ["data.root", "data.pool", "data.reward", "detector.config", "detector.weights"])
def test_a_path_that_no_file_system_takes_is_refused(tmp_path, setting, text):
    section, name = setting.split(".")
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, f"{section}:\n  {name}: {text}\n"))
    assert f"params.yaml:2: {setting}" in caught.value.problems[0]
    assert "expected a path or name with at most 200 bytes between slashes, got '" in caught.value.problems[0]


@pytest.mark.parametrize("strategy", ["n" * 300, "n" * 101 + ".py", "d" * 300 + "/mine.py", "n" * 5000])
def test_a_strategy_has_a_name_that_fits_into_a_path(tmp_path, strategy):
    with pytest.raises(ConfigError, match="params.yaml:1: study: expected names of strategies of at most 100 letters"):
        read_config(write(tmp_path, f"study:\n  strategies: ['{strategy}']\n"))


def test_a_thousand_faults_are_counted(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, "".join(f"key{row}: 1\n" for row in range(1000))))
    assert len(caught.value.problems) == 20
    assert caught.value.problems[-1].endswith("(and 980 more like this)")


def test_options_of_the_command_line_are_settings_too():
    config = with_options(Config(), "semisup_study", {"fractions": "0.1, 0.5", "folds": "2", "methods": None})
    assert (config.semisup_study.fractions, config.semisup_study.folds) == ((0.1, 0.5), 2)
    for name, text, line in (
            ("folds", "x", "semisup_study.folds: expected a valid integer, got 'x'"),
            ("folds", "[" * 5000, f"semisup_study.folds: expected a value, got '{'[' * 99}…"),
            ("fractions", "1e-1", "semisup_study.fractions.0: expected a valid number, got '1e-1'; YAML takes it for "
                                  "text, write 0.1 or 1.0e-1"),
            ("fractions", "0.1]", "semisup_study.fractions: expected values, got '0.1]'")):
        with pytest.raises(ConfigError) as caught:
            with_options(Config(), "semisup_study", {name: text})
        assert caught.value.problems == (line,)
