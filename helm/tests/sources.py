"""What the sources and binaries say about services, so that the chart cannot say otherwise.

Reads text by patterns that fit how these few lines are written; where one fits nothing, it fails rather than guesses.
"""

import functools
import os
import re
import subprocess

import yaml

from rendered import ROOT

GROUPS = {"gateway": "", "sandbox": "mesh", "master": "master-services", "info": "info-services", "notifier": "master-services"}


def folder(service):
    """Where a service's crate is."""
    for word, group in GROUPS.items():
        if service == word or service.endswith(f"-{word}") or service.startswith(f"{word}-"):
            return ROOT / group / service
    raise LookupError(service)


@functools.cache
def source(service):
    files = sorted((folder(service) / "src").rglob("*.rs"))
    assert files, f"{service} has no sources"
    return "\n".join(file.read_text() for file in files if file.name != "tests.rs")


def text(path):
    return (ROOT / path).read_text()


def services():
    """The names in the platform's own table."""
    table = re.search(r"pub const SERVICES.*?\n\];", text("mesh/local/src/services.rs"), re.S).group()
    return set(re.findall(r'name: "([a-z-]+)"', table))


def peers_of(service):
    """Everyone whom some route of a service lets in."""
    rust = source(service)
    lists = re.findall(r"&\[&str\] = &\[([^\]]*)\]", rust) + re.findall(r"allow\(&\[([^\]]*)\]\)", rust)
    peers = set(re.findall(r'"([a-z-]+)"', " ".join(lists)))
    if re.search(r"\bGATEWAY\b", " ".join(lists)):
        peers.add("gateway")
    return peers


def owners():
    """Context to the master that owns it."""
    rust = text("mesh/contracts/src/subject.rs")
    body = re.search(r"pub fn owner\(self\).*?\n    }\n", rust, re.S).group()
    return dict(re.findall(r'Self::(\w+) => "([a-z-]+)"', body))


def calls():
    """Caller and callee of every call that the code makes: of upstreams by their names, and of feeds."""
    found = set()
    for service in services():
        rust = source(service)
        named = re.findall(r'\.get\("([a-z]+-(?:master|info)|notifier)"\)', rust)
        if service == "gateway":
            named += re.findall(r'service\("([a-z-]+)"\)', rust)
        found |= {(service, callee) for callee in named}
    readers = re.findall(r'(?:inbox|documents)\("([a-z-]+)", Context::(\w+)', text("mesh/verify/src/readers.rs"))
    assert readers, "nobody reads anything"
    return found | {(reader, owners()[context]) for reader, context in readers}


def admin_routes():
    return set(re.findall(r'\.route\("(/[a-z]+)"', text("mesh/runtime/src/admin.rs")))


def istio():
    """Every object of mesh/istio; none as long as there is no such folder."""
    files = sorted((ROOT / "mesh/istio").rglob("*.yaml"))
    return [one for file in files for one in yaml.safe_load_all(file.read_text()) if one]


def binaries():
    """The folder of built binaries: the one given, or the newest of target/debug and target/release."""
    given = os.environ.get("TIFFIN_BINARIES")
    folders = [ROOT / given] if given else [ROOT / "target" / profile for profile in ("debug", "release")]
    built = [folder for folder in folders if (folder / "gateway").is_file()]
    if not built:
        raise FileNotFoundError("no binaries: run `cargo build --workspace --bins` first")
    return max(built, key=lambda folder: (folder / "gateway").stat().st_mtime)


def run(service, *arguments, env=None):
    program = str(binaries() / service)
    return subprocess.run([program, *arguments], env=env or {}, capture_output=True, text=True, timeout=20)


@functools.cache
def settings(service):
    """The names in the table that `--help` prints, each with whether it is required."""
    printed = run(service, "--help").stdout
    table = re.findall(r"^  (TIFFIN_[A-Z0-9_]+) \((required|default|optional)", printed, re.M)
    assert table, f"{service} --help prints no settings"
    return {name: kind == "required" for name, kind in table}
