"""One chain for all tests: a platform (or one that is up already), its Envoy, and HAProxy in front."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import chain

ROOT = chain.MESH.parent
# A debug build on two cores, all services and the demonstration's data.
UP_S = 180


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edge")
    yield folder
    # PostgreSQL may not enter it, so its data are elsewhere.
    for link in folder.rglob("postgres"):
        if link.is_symlink():
            shutil.rmtree(link.readlink(), ignore_errors=True)


def binary():
    return pathlib.Path(os.environ.get("TIFFIN", ROOT / "target" / "debug" / "tiffin"))


def start_platform(folder, *more):
    """`tiffin up` with nobody ordering by themselves; the caller ends it."""
    log = folder.with_suffix(".log").open("w")
    told = os.environ | {"TIFFIN_LOG": "info,mesh_projection::write=debug"}
    process = subprocess.Popen([binary(), "up", "--no-simulation", "--fresh", "--data-dir", folder, *more],
                               stdout=subprocess.PIPE, stderr=log, text=True, env=told)
    for line in process.stdout:
        if line.startswith("ready "):
            return process
    raise AssertionError(f"no platform: {folder.with_suffix('.log').read_text()[-2000:]}")


def stop_platform(process):
    process.send_signal(signal.SIGINT)
    process.wait(UP_S)


@pytest.fixture(scope="session")
def region(scratch):
    """The platform; TIFFIN_EDGE_DATA_DIR names one that is up, and then it is left up."""
    if running := os.environ.get("TIFFIN_EDGE_DATA_DIR"):
        yield chain.Region(running)
        return
    process = start_platform(scratch / "home")
    yield chain.Region(scratch / "home")
    stop_platform(process)


@pytest.fixture(scope="module")
def other_region(scratch):
    """A second platform, with people, keys and an authority of its own."""
    process = start_platform(scratch / "away")
    yield chain.Region(scratch / "away")
    stop_platform(process)


@pytest.fixture(scope="session")
def envoy(region, scratch):
    ingress = chain.Envoy(region, scratch / "envoy").start()
    yield ingress
    ingress.stop()


@pytest.fixture(scope="session")
def haproxy(region, envoy, scratch):
    door = chain.Haproxy({"local": (envoy.port, region.authority)}, scratch / "haproxy", "local").start()
    client = chain.Client(door.port, region.public_ca)
    chain.eventually("the region is up", lambda: client.get("/readyz").status_code == 200)
    yield door
    door.stop()


@pytest.fixture(scope="session")
def hops(region, envoy, haproxy):
    """Where a request may come in: name → client."""
    certs = region.data_dir / "certs"
    ca = region.public_ca
    return {
        "haproxy": chain.Client(haproxy.port, ca),
        "envoy": chain.Client(envoy.port, ca, haproxy.certs, http2=True),
        "gateway": chain.Client(region.port("gateway"), ca, certs / "tiffin"),
        "public": chain.Client(region.ports()["public"], ca),
    }
