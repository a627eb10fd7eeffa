"""Every file in configs/ is a page that says how it is used, and works so."""

import re

import pytest

from tests.fakes.commands import ROOT, assert_one_line_error, run_module, run_modules

CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))
TRAIN, CONVERT = "calcseg_tf.train", "data_prep.convert"


def command_of(config):
    """The module that the header's command runs with this file."""
    found = re.findall(rf"python -m (\S+) --flagfile=configs/{re.escape(config.name)} ", config.read_text())
    assert len(found) == 1, f"{config.name} must give its command once, in its header"
    return found[0]


def configs_of(module):
    found = [config for config in CONFIGS if command_of(config) == module]
    assert found
    return found


@pytest.mark.slow
def test_every_config_of_training_is_taken_with_all_its_values(tmp_path):
    configs, folders = configs_of(TRAIN), [f"--records_dir={tmp_path / 'x'}", f"--model_dir={tmp_path / 'y'}"]
    calls = [[f"--flagfile=configs/{config.name}", *folders] for config in configs]
    for ended in run_modules(TRAIN, calls):
        assert_one_line_error(ended, tmp_path / "x", "no such folder of records")  # what is looked at after the recipe
    assert not list(tmp_path.iterdir())


def test_every_config_of_a_conversion_is_taken_with_all_its_values(tmp_path):
    for config in configs_of(CONVERT):
        ended = run_module(
            CONVERT, f"--flagfile=configs/{config.name}", data_dir=tmp_path / "x", output_dir=tmp_path / "y"
        )
        assert_one_line_error(ended, tmp_path / "x")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_config_is_a_page_that_says_when_it_was_measured(config):
    lines = config.read_text().splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    assert lines[0].startswith("# ")
    assert len(lines) <= 45
    assert re.search(r"^# Command:  ", header, re.MULTILINE)
    assert re.search(r"not yet (measured|run)|(BUILD_NOTES|MODEL_CARD)\.md", header, re.IGNORECASE)


def test_every_config_belongs_to_a_command_tested_here():
    assert {command_of(config) for config in CONFIGS} == {TRAIN, CONVERT}
