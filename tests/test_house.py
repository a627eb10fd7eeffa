"""The house: which room may import from which, and what every module holds itself to.

Found in the source alone (`ast`): imports inside functions count as those at the top do.
"""

import ast
import graphlib
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
PRODUCT, TOOLS = ("data_prep", "calcseg_tf"), ("tools", "benchmarks")

# A room is a module or a folder right below its package. From the ground up: a room imports from lower layers alone,
# so that rooms of one layer know nothing of each other. What may be run is the top; nobody imports it.
LAYERS = {
    "data_prep": (
        ("names, errors, numbers", "breast errors help_page mask printable quiet"),
        ("files and programs",
         "beam command components flushing identity only_run png remote tables tfrecord worker_process"),
        ("what is built of those", "atomic dicom roi whole_folder"),
        ("the contracts: image, record", "mammogram schema"),
        ("what goes with them", "manifest mask_files split synthesis"),
        ("sets of images", "annotation description implants"),
        ("data sets that others made", "datasets"),
        ("records", "conversion"),
        ("their check", "verification"),
        ("what is told of both", "report"),
        ("commands", "convert describe implant synthesize verify"),
    ),
    "calcseg_tf": (
        ("numbers, pictures", "bands drawing hdf5 heat_map html precision probability_map schedules shipped"),
        ("networks, one process, records",
         "callbacks cluster fine_tuning models split_records termination torch_weights"),
        ("of a network, a batch, a map",
         "augment banded checkpointing clinical devices evaluation history losses model_directory"),
        ("of a model, a mammogram",
         "example_crops held_out importing inference initial_weights input_pipeline prediction segmenter"),
        ("of a data set", "recipe scoring train_split"),
        ("runs over one", "bulk evaluating validation"),
        ("what is shown of them", "comparing progress result_flags tensorboard_log"),
        ("the whole of it", "serving training"),
        ("commands", "compare evaluate export import_weights predict train"),
    ),
}  # fmt: skip

# Started as programs, though they stand in a room: the client of a server, the decoder's own process.
PROGRAMS_IN_ROOMS = {"calcseg_tf.serving.client", "data_prep.dicom.decoding_process"}

# Each does one thing, with many cases of it.
LONGER_TESTS = {
    "tests/data_prep/conversion/test_resume.py", "tests/data_prep/datasets/test_cbis_ddsm.py",
    "tests/data_prep/test_convert.py", "tests/data_prep/test_describe.py",
}  # fmt: skip


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _files(*folders):
    return {_module(path): path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))}


FILES = _files(*PRODUCT, *TOOLS, "tests")
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def _imported(name):
    """Returns what a module imports: (module of ours, name in it or "")."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names if alias.name in FILES}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in FILES:
                    found.add((whole, ""))
                elif node.module in FILES:
                    found.add((node.module, alias.name))
    return found


IMPORTS = {name: _imported(name) for name in FILES}
PRODUCT_MODULES = [name for name in FILES if name.split(".")[0] in PRODUCT]


def _room(name):
    return ".".join(name.split(".")[:2])


def _layer(room):
    package, _, name = room.partition(".")
    for number, (_, rooms) in enumerate(LAYERS[package]):
        if name in rooms.split():
            return number
    return -1  # the package itself: its version


def _exported(name):
    for node in TREES[name].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


EXPORTED = {name: _exported(name) for name in FILES}


def _is_run(name):
    return any(
        isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in TREES[name].body
    )


PROGRAMS = {name for name in FILES if _is_run(name)}


def test_every_room_is_in_the_table_once():
    for package in PRODUCT:
        listed = [f"{package}.{name}" for _, rooms in LAYERS[package] for name in rooms.split()]
        assert sorted(listed) == sorted({_room(name) for name in _files(package)} - {package})


def test_rooms_import_from_lower_layers_alone():
    wrong = [
        f"{name} -> {other}"
        for name in PRODUCT_MODULES
        for other, _ in IMPORTS[name]
        if _room(other) != _room(name)
        and other.split(".")[0] == name.split(".")[0]
        and _layer(_room(other)) >= _layer(_room(name))
    ]
    assert wrong == []


def test_data_prep_imports_nothing_from_calcseg_tf_and_the_product_nothing_from_around_it():
    for name in PRODUCT_MODULES:
        allowed = PRODUCT if name.startswith("calcseg_tf") else ("data_prep",)
        assert [other for other, _ in IMPORTS[name] if other.split(".")[0] not in allowed] == [], name


def test_no_module_imports_itself_through_others():
    graphlib.TopologicalSorter({name: {other for other, _ in IMPORTS[name]} for name in FILES}).prepare()


def test_commands_are_what_is_run_and_nobody_imports_them():
    programs = {name for name in PROGRAMS if name.split(".")[0] in PRODUCT}
    commands = {f"{package}.{name}" for package in PRODUCT for name in LAYERS[package][-1][1].split()}
    assert programs == commands | PROGRAMS_IN_ROOMS
    # benchmarks and tests may run what a person runs; they too start it as a program.
    importing = {(name, other) for name in FILES for other, _ in IMPORTS[name] if other in programs}
    assert importing == set()


def test_flags_stop_at_the_commands():
    def with_flags(name):
        return any(
            isinstance(node, ast.ImportFrom) and node.module == "absl" and "flags" in {each.name for each in node.names}
            for node in ast.walk(TREES[name])
        )

    allowed = PROGRAMS | {"data_prep.command", "data_prep.help_page", "calcseg_tf.result_flags"}
    assert {name for name in PRODUCT_MODULES if with_flags(name)} <= allowed


def test_every_flag_is_read():
    """A flag's value is kept under a name, alone or with others, and that name is used."""
    defined = 0
    for name in (name for name in FILES if name.split(".")[0] in (*PRODUCT, *TOOLS)):
        used = {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(TREES[name])
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        }
        kept = 0
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.Assign | ast.AnnAssign) and (count := _definitions(node)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                assert (target.id if isinstance(target, ast.Name) else target.attr) in used, (name, ast.unparse(target))
                kept += count
        assert kept == _definitions(TREES[name]), f"{name}: a flag that is kept nowhere"
        defined += kept
    assert defined > 100


def _definitions(tree):
    """Counts flags with a value; DEFINE_flag takes one that acts by itself, such as --help."""
    called = [node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "attr")]
    return sum(name.startswith("DEFINE_") and name != "DEFINE_flag" for name in called)


def test_tensorflow_addons_is_imported_in_two_places():
    def addons(name):
        imports = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Import)]
        return "tensorflow_addons" in {alias.name for node in imports for alias in node.names}

    assert {name for name in PRODUCT_MODULES if addons(name)} == {"calcseg_tf.augment", "calcseg_tf.losses"}


def test_what_others_import_is_public_and_exported():
    """Private names are no one else's, the tests' included; what is shared is in `__all__`."""
    wrong = []
    for name, other, imported in ((importer, *each) for importer in FILES for each in IMPORTS[importer]):
        if not imported or imported == "__version__":
            continue
        exported = EXPORTED[other]
        if imported.startswith("_") or (other.split(".")[0] in PRODUCT and imported not in (exported or ())):
            wrong.append(f"{name}: {other}.{imported}")
    assert wrong == []


def test_tests_reach_for_nothing_private_in_our_modules():
    """`module._name` by way of the module; two look into the pools of processes, which end or break on purpose."""
    found = set()
    for name in (name for name in FILES if name.split(".")[0] == "tests"):
        modules = {other.rsplit(".", 1)[-1] for other, imported in IMPORTS[name] if not imported}
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                holder = ast.unparse(node.value).split(".")[0]
                if holder in modules:
                    found.add(f"{name}: {ast.unparse(node)}")
    assert found == {
        "tests.data_prep.dicom.test_decoding: decoding._decoder",
        "tests.data_prep.dicom.test_decoding: decoding._decoder._process",
    }


def test_a_module_says_what_it_is_for_and_exports_what_it_defines():
    for name in (name for name in FILES if name.split(".")[0] in (*PRODUCT, *TOOLS)):
        assert ast.get_docstring(TREES[name]), f"{name}: every module has a docstring"
        definitions = [node for node in TREES[name].body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        if name in PRODUCT_MODULES and name not in PROGRAMS and not all(each.name[0] == "_" for each in definitions):
            assert EXPORTED[name] is not None, f"{name}: a module that defines public names has __all__"


def test_a_file_has_at_most_400_lines():
    lines = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n") for path in FILES.values()}
    assert {place for place, count in lines.items() if count > 400} == LONGER_TESTS
    assert max(lines.values()) < 500


def test_what_each_command_writes_is_searched_for_what_names_a_patient():
    """By a test that calls it and `tests.leaks.find_leaks`; two see no patient: they draw, or convert weights."""
    texts = [
        FILES[name].read_text(encoding="utf-8") for name in FILES if ("tests.leaks", "find_leaks") in IMPORTS[name]
    ]
    commands = {name for name in PROGRAMS if name in PRODUCT_MODULES} - {"data_prep.dicom.decoding_process"}
    unsearched = {name for name in commands if not any(f'"{name}"' in text for text in texts)}
    assert unsearched == {"data_prep.synthesize", "calcseg_tf.import_weights"}
