"""tweakcc as npm has it: installed for one use, and run where it can change nothing but a copy.

tweakcc is not self-contained: it needs 98 other packages. npm installs exactly those named, with
their sha512, in `tweakcc_package/package-lock.json`; no script of any of them runs then.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.errors import CcmError, NetworkError, NotFoundError, VerificationError
from ccmirror_py.npmrc import referenced, variables_config
from ccmirror_py.patches import TOOL

INSTALL_TIMEOUT = 900.0
PATCH_TIMEOUT = 120.0
OLDEST_NODE = 20
"""`engines` of tweakcc 4.0.11."""

_PROGRAM = "node_modules/tweakcc/dist/index.mjs"
_NPM = "ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error".split()
# It would ask GitHub for texts that nobody pinned, and put them into the program.
_NO_FETCH = "data:text/javascript,globalThis.fetch=async()=>{throw new Error('no network here')}"
_FOR_NPM = re.compile(
    r"HOME|PATH|LANG|LC_.*|TMPDIR|npm_config_.*|https?_proxy|no_proxy|all_proxy|"
    r"NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Node:
    """Paths of `node` and `npm`, the first on the user's PATH."""

    node: str
    npm: str


def find_node(environ: Mapping[str, str]) -> Node:
    """NotFoundError when there is none that tweakcc can use."""
    path = environ.get("PATH", "")
    hint = f"{TOOL} needs Node.js {OLDEST_NODE} or newer and its npm on PATH."
    found = {name: shutil.which(name, path=path) for name in ("node", "npm")}
    for name, program in found.items():
        if program is None:
            raise NotFoundError("program on PATH named", name, hint=hint)
    node = Node(str(found["node"]), str(found["npm"]))
    said = _run([node.node, "--version"], Path("/"), {"PATH": path}, 30.0).stdout.strip()
    major = re.match(r"v(\d+)\.", said)
    if major is None or int(major[1]) < OLDEST_NODE:
        told = f"{node.node} is {said[:40] or 'silent'}. {hint}"
        raise NotFoundError("Node.js", f"{OLDEST_NODE} or newer", hint=told)
    return node


def install(node: Node, directory: Path, cache: Path, environ: Mapping[str, str]) -> None:
    """Into the new directory `directory`, from the registry the user's npm is configured for.

    `cache` keeps npm's downloads. NetworkError, or VerificationError for other bytes than pinned.
    """
    fs.make_directory(directory)
    for name in ("package.json", "package-lock.json"):
        content = (files("ccmirror_py") / "tweakcc_package" / name).read_bytes()
        fs.write_file(directory / name, content, 0o600)
    argv = [node.npm, *_NPM, "--cache", str(cache)]
    done = _run(argv, directory, _npm_environ(environ), INSTALL_TIMEOUT)
    if done.returncode == 0 and (directory / _PROGRAM).is_file():
        return
    said = " ".join(done.stderr.replace("npm error", " ").split())[:300] or "no reason given"
    if "EINTEGRITY" in done.stderr:
        raise VerificationError(
            f"The registry gives other bytes for {TOOL} or a package it needs than are pinned.",
            "Check the registry settings: npm config get registry",
        )
    raise NetworkError(
        f"npm could not install {TOOL}: {said}", "Check: npm ping, then run the same command again."
    )


def run(node: Node, tools: Path, program: Path, config: Path, patches: Sequence[str]) -> str:
    """What tweakcc printed when it patched `program` with the settings in `config`.

    It gets no key, no home directory but `config`, and no network. CcmError when it fails.
    """
    environment = {
        "PATH": f"{Path(node.node).parent}:/usr/bin:/bin",
        "HOME": str(config),
        "TMPDIR": str(config),
        "XDG_CONFIG_HOME": str(config),
        "LANG": "C.UTF-8",
        "TWEAKCC_CONFIG_DIR": str(config),
        "TWEAKCC_CC_INSTALLATION_PATH": str(program),
    }
    argv = [node.node, "--import", _NO_FETCH, str(tools / _PROGRAM), "--apply"]
    done = _run([*argv, "--patches", ",".join(patches)], config, environment, PATCH_TIMEOUT)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "Error:" in line]
        said = (errors or done.stderr.splitlines() or [f"status {done.returncode}"])[0]
        raise CcmError(f"{TOOL} failed: {said.strip()[:300]}", "Nothing was changed.")
    return done.stdout


def _npm_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """How npm is configured, what the user's `.npmrc` refers to included; nothing else."""
    user = variables_config(environ).get("userconfig") or f"{environ.get('HOME', '')}/.npmrc"
    names: set[str] = set()
    with suppress(OSError):
        names = referenced(fs.read_file(Path(user)).decode(errors="replace"))
    return {
        name: value for name, value in environ.items() if _FOR_NPM.fullmatch(name) or name in names
    }


def _run(
    argv: list[str], directory: Path, environment: Mapping[str, str], timeout: float
) -> "subprocess.CompletedProcess[str]":
    """It ends with all that it started, whatever ends the waiting."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise CcmError(f"{argv[0]} can't be started: {error.strerror}.") from None
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            name = Path(argv[0]).name
            raise CcmError(
                f"{TOOL} did not end within {timeout:.0f} seconds ({name}).", "Nothing was changed."
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)
