"""`tiffin up --edge`: the whole chain with one command, and nothing of it left behind."""

import os
import pathlib
import re
import signal

import chain
import conftest


def test_the_chain_comes_up_is_kept_up_and_goes(scratch):
    folder = scratch / "up"
    process = conftest.start_platform(folder, "--edge")
    try:
        region = chain.Region(folder)
        client = chain.Client(region.port("haproxy"), region.public_ca, http2=True)
        assert client.get("/readyz").headers["tiffin-region"] == "local"
        assert client.get("/v1/me").problem == "token_missing"
        was = region.process("envoy")["pid"]
        os.kill(was, signal.SIGKILL)
        chain.eventually("Envoy is started again", lambda: region.process("envoy")["pid"] != was)
        chain.eventually("people come in again", lambda: client.get("/readyz").status_code == 200)
    finally:
        conftest.stop_platform(process)
    assert [pid for pid in pathlib.Path("/proc").iterdir() if re.fullmatch(r"\d+", pid.name) and names(pid, folder)] == []


def names(pid, folder):
    """Whether a process is one of that platform."""
    try:
        return any(str(folder).encode() in (pid / file).read_bytes() for file in ("cmdline", "environ"))
    except OSError:
        return False
