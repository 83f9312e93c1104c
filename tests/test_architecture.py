"""The rules of the design that a reader can't see in one file: layers, purity, the disk, the size.

A new module has to be given its layer here.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ccmirror_py"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
}

LAYERS = {
    "pure": "address changes check diagnosis environment errors fields guidance heard launcher "
    "local_servers look mcp messages model_list name npmrc outcome palette patches platforms "
    "prices probe probe_access probe_talk provider release rule sealed secret seeding settings "
    "signature statusline streams toml_table variant version",
    "adapter": "ahead archive credential echo fs home host journal keyring_entries line listing "
    "os_keyring partial providers receipt records registry releases sessions signers store times "
    "transport trash tweakcc variants watch",
    "context": "context",
    "operation": "operations.audit operations.choose operations.compare operations.create "
    "operations.doctor operations.doctor_fix operations.doctor_launch operations.editing "
    "operations.key operations.key_test operations.looks operations.models "
    "operations.probe operations.probe_apply operations.probe_deep "
    "operations.probe_launch operations.probed operations.prune operations.publish "
    "operations.remove operations.restyle operations.rollback operations.run "
    "operations.trash operations.trial operations.tweak operations.twin operations.update",
    "cli": "__main__ cli.app cli.commands_change cli.commands_check cli.commands_create "
    "cli.commands_key "
    "cli.commands_look cli.commands_mcp cli.commands_probe cli.commands_providers "
    "cli.commands_theme cli.commands_trash cli.commands_tweak cli.commands_versions "
    "cli.completing cli.main cli.options cli.params cli.provider_json cli.render "
    "cli.sample cli.shortcut cli.wiring",
}
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names.split()}
ORDER = list(LAYERS)

PURE_IMPORTS = {
    "__future__",
    "hashlib",
    *("base64", "binascii", "collections.abc", "contextlib", "dataclasses", "functools", "re"),
    *("difflib", "glob", "json", "posixpath", "shlex", "tomllib", "typing", "urllib.parse", "zlib"),
    *("packaging.specifiers", "cryptography.exceptions"),
    *("cryptography.hazmat.primitives.asymmetric.ec", "cryptography.hazmat.primitives.hashes"),
    "cryptography.hazmat.primitives.serialization",
    "datetime",  # provider: the type of a date in a file
    "pathlib",  # errors: a path in a message
}
CHANGES_THE_DISK = {
    *("write_text", "write_bytes", "mkdir", "makedirs", "unlink", "rename", "renames", "rmdir"),
    *("symlink_to", "hardlink_to", "symlink", "link", "touch", "chmod", "lchmod", "chown"),
    *("rmtree", "copyfile", "copytree", "copy2", "move", "remove_tree", "truncate", "utime"),
    *("mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile"),
    *("sendfile", "mkfifo", "mknod", "fchmod", "copyfileobj", "removedirs"),
}
# Not through fs: a closed pipe, or a closed standard stream, is led to /dev/null.
DISK_EXCEPTIONS = {
    ("cli.main", "os.open(os.devnull, os.O_WRONLY)"),
    ("cli.main", "os.open(os.devnull, os.O_RDWR)"),
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """What is imported anywhere in it, and whether only for the type checker."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("ccmirror_py.")
                whole = f"ccmirror_py.{inner}" if inner in FILES else str(node.module)
                yield whole, id(node) in typing_only


def own_imports(module: str, for_types: bool = True) -> set[str]:
    found = {name for name, typing_only in imports(module) if for_types or not typing_only}
    return {n.removeprefix("ccmirror_py.") for n in found if n.startswith("ccmirror_py.")}


def foreign_imports(module: str) -> set[str]:
    return {name for name, _ in imports(module) if name.partition(".")[0] != "ccmirror_py"}


def calls(module: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]


def test_every_module_has_its_layer() -> None:
    assert sorted(LAYER_OF) == sorted(FILES)


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_from_its_own_layer_and_those_above(module: str) -> None:
    rank = ORDER.index(LAYER_OF[module])
    below = {n for n in own_imports(module) if ORDER.index(LAYER_OF[n]) > rank}
    assert below == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    waiting = {module: own_imports(module, for_types=False) for module in FILES}
    while waiting:
        free = {module for module, needs in waiting.items() if not needs & set(waiting)}
        assert free, f"a circle among {sorted(waiting)}"
        waiting = {module: needs for module, needs in waiting.items() if module not in free}


@pytest.mark.parametrize("module", LAYERS["pure"].split())
def test_a_pure_module_needs_no_system_no_clock_and_no_network(module: str) -> None:
    assert foreign_imports(module) <= PURE_IMPORTS
    asked = {ast.unparse(call.func).rpartition(".")[2] for call in calls(module)}
    assert asked & {"open", "input", "print", "now", "today", "read_text", "exists", "cwd"} == set()


def test_of_paths_and_dates_pure_modules_use_the_types_only() -> None:
    users = {m: foreign_imports(m) & {"datetime", "pathlib"} for m in LAYERS["pure"].split()}
    assert {module: names for module, names in users.items() if names} == {
        "errors": {"pathlib"},
        "provider": {"datetime"},
        "signature": {"datetime"},  # when a key expires
    }


def test_only_the_transport_speaks_http() -> None:
    clients = {"requests", "urllib3", "http.client", "urllib.request", "httpx", "aiohttp"}
    users = {
        module
        for module in FILES
        if {n for n in foreign_imports(module) if n in clients or n.partition(".")[0] in clients}
    }
    assert users == {"line", "transport"}


def test_only_wiring_reads_the_environment() -> None:
    readers = {
        module
        for module in FILES
        for node in ast.walk(tree(module))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        and ast.unparse(node.value) == "os"
    }
    named = {
        module
        for module in FILES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.module == "os"
    }
    homes = {
        module
        for module in FILES
        for call in calls(module)
        if ast.unparse(call.func).endswith((".home", ".expanduser", ".expandvars"))
        and "Path" in ast.unparse(call.func)
    }
    assert (readers, named, homes) == ({"cli.wiring"}, set(), set())


def writes(call: ast.Call) -> bool:
    """Whether this call changes the disk, as far as its words tell."""
    whole = ast.unparse(call.func)
    owner, _, name = whole.rpartition(".")
    arguments = [ast.unparse(argument) for argument in call.args]
    modes = [*arguments, *(ast.unparse(keyword.value) for keyword in call.keywords)]
    if owner == "fs":
        return False  # the one way
    if name in ("open", "fdopen"):
        flags = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND")
        letters = [mode.strip("'\"") for mode in modes if mode[:1] in "'\""]
        return any(flag in mode for flag in flags for mode in modes) or any(
            set(mode) <= set("rwaxbt+U") and set(mode) & set("wax+") for mode in letters
        )
    if name == "replace":  # a text's takes two arguments, a dataclass's names
        return owner == "os" or (len(call.args) == 1 and not call.keywords)
    if name == "remove":
        return owner == "os"
    if name in ("rename", "link", "copy"):
        return owner in ("os", "shutil") or name == "rename"
    return name in CHANGES_THE_DISK


def test_the_disk_changes_through_fs_only() -> None:
    elsewhere = {
        (module, ast.unparse(call))
        for module in FILES
        if module != "fs"
        for call in calls(module)
        if writes(call)
    }
    assert elsewhere == DISK_EXCEPTIONS


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("path.write_text('x')", True),
        ("path.open('wb')", True),
        ("open(p, mode='a')", True),
        ("path.open('rb')", False),
        ("os.open(p, os.O_CREAT)", True),
        ("os.open(p, os.O_RDONLY)", False),
        ("a.replace('x', 'y')", False),
        ("path.replace(target)", True),
        ("replace(variant, version=v)", False),
        ("fs.rename(a, b)", False),
        ("path.rename(b)", True),
        ("os.remove(p)", True),
        ("list_.remove(p)", False),
        ("path.chmod(0o700)", True),
        ("shutil.rmtree(p)", True),
        ("tempfile.mkdtemp()", True),
    ],
)
def test_the_test_above_knows_a_change_when_it_sees_one(text: str, changes: bool) -> None:
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert writes(call) is changes


def test_no_file_is_too_long_to_read() -> None:
    lines = {module: len(path.read_text().splitlines()) for module, path in FILES.items()}
    assert {module: count for module, count in lines.items() if count > 360} == {}


def test_no_module_is_named_after_nothing() -> None:
    nothing = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "wrapper", "base"}
    parts = {part for module in FILES for word in module.split(".") for part in word.split("_")}
    assert parts & nothing == set()


def test_every_module_says_what_it_is_for() -> None:
    assert [module for module in LAYER_OF if module in FILES and not documented(module)] == []


def documented(module: str) -> bool:
    return module == "__main__" or bool(ast.get_docstring(tree(module)))


# --- what a command imports ---


def imported(tmp_path: Path, *words: str) -> set[str]:
    """The modules that `ccm WORDS` imports, in a home that is empty."""
    environ = {
        "HOME": str(tmp_path),
        "CCM_HOME": str(tmp_path / "ccm"),
        "CCM_BIN_DIR": str(tmp_path / "bin"),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ccmirror_py", *words],
        env=environ,
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("words", [("list",), ("ls", "--json"), ()], ids=["list", "json", "bare"])
def test_looking_imports_neither_requests_nor_rich_nor_an_operation(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    names = imported(tmp_path, *words)
    assert "ccmirror_py.records" in names
    assert ("typer" in names) is (not words)  # the others are answered before
    slow = {"dataclasses", "inspect", "pathlib", "typing"}
    assert not words or not names & slow
    assert (
        packages(names) & {"requests", "urllib3", "ssl", "rich", "filelock", "packaging"} == set()
    )
    assert [name for name in names if name.startswith("ccmirror_py.operations.")] == []
    assert "ccmirror_py.registry" not in names
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_the_version_is_told_without_importing_anything_else(tmp_path: Path, word: str) -> None:
    names = imported(tmp_path, word)
    assert packages(names) & {"typer", "click", "rich", "requests", "subprocess"} == set()
    ours = {name for name in names if name.startswith("ccmirror_py")}
    assert ours == {"ccmirror_py", "ccmirror_py.cli", "ccmirror_py.cli.main"}


def test_the_pure_layer_can_be_imported_without_the_rest(tmp_path: Path) -> None:
    modules = [f"ccmirror_py.{name}" for name in LAYERS["pure"].split()]
    text = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name for name in done.stdout.split() if name.startswith("ccmirror_py.")}
    assert loaded == set(modules)
    assert not set(done.stdout.split()) & {"subprocess", "socket", "requests", "typer", "ssl"}
