import subprocess
import sys

from data_prep.command import say

PROGRAM = """
from absl import flags
from data_prep.command import run
from data_prep.errors import InputError
seed = flags.DEFINE_integer("seed", 0, "Seed.")
folder = flags.DEFINE_string("folder", "somewhere", "Folder.")
folders = flags.DEFINE_list("folders", [], "Folders.")
def main():
    if seed.value == 1:
        raise InputError("the rule", "a file")
    if seed.value == 2:
        open("/no/such/file")
    if seed.value == 3:
        raise KeyboardInterrupt
    if seed.value == 4:
        raise ZeroDivisionError("a bug")
    if seed.value == 5:
        print(folder.value, *folders.value)
        return
    print("done", seed.value)
run(main)
"""


def call(*arguments):
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60)


def test_success_ends_with_0():
    ended = call("--seed=7")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done 7\n", "")


def test_a_users_error_is_one_line_and_status_1():
    for seed, line in (
        (1, "error: a file: the rule\n"),
        (2, "error: [Errno 2] No such file or directory: '/no/such/file'\n"),
        (3, "error: interrupted\n"),
    ):
        ended = call(f"--seed={seed}")
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)


def test_debug_and_bugs_show_their_traceback():
    for arguments in (["--seed=1", "--debug"], ["--seed=4"]):
        ended = call(*arguments)
        assert ended.returncode == 1
        assert "Traceback" in ended.stderr


def test_unknown_flags_stray_arguments_and_bad_values_are_one_line():
    for argument, words in (
        ("--sed=1", "Unknown command line flag 'sed'. Did you mean: seed"),
        ("stray", "found the stray argument 'stray'"),
        ("--seed=one", "--seed=one: this must be a whole number"),
        ("--flagfile=/no/such.cfg", "error: Unable to open flagfile: [Errno 2] No such file or directory"),
    ):
        ended = call(argument)
        assert ended.returncode == 1
        assert words in ended.stderr
        assert "--help" in ended.stderr
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1


def test_a_flagfile_is_read(tmp_path):
    (tmp_path / "settings.cfg").write_text("# a comment\n--seed=6\n")
    assert call(f"--flagfile={tmp_path / 'settings.cfg'}").stdout == "done 6\n"


def test_help_is_a_success():
    ended = call("--helpshort")
    assert (ended.returncode, ended.stderr) == (0, "")
    ended = call("--helpfull")
    assert ended.returncode == 0
    assert "--seed" in ended.stdout


def test_the_home_folder_is_meant_by_a_tilde_which_shells_leave_alone_inside_a_flag(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    ended = call("--seed=5", "--folder=~/records", "--folders=a=~/b,@~/list,~,c~d,~other/x")
    assert ended.stdout == "/home/someone/records a=/home/someone/b @/home/someone/list /home/someone c~d ~other/x\n"


def test_a_flag_that_must_be_given_must_not_be_empty():
    program = PROGRAM.replace('"somewhere", "Folder."', 'None, "Folder.", required=True')
    for arguments, line in (
        ([], "error: --folder must be given; --help tells of every flag\n"),
        (["--folder="], "error: --folder must not be empty (an unset variable of the shell?)\n"),
    ):
        ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)


def test_what_a_terminal_would_obey_is_printed_as_its_code(capsys):
    say("a\x1b]0;title\x07b: M\u00fcller\n  table")
    assert capsys.readouterr().out == "a\\x1b]0;title\\x07b: M\u00fcller\n  table\n"
