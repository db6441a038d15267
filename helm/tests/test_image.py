"""What can be known of the image without building it."""

import re
import tomllib
import unittest

from rendered import ROOT, pod, workloads

import sources

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def instructions():
    """Each with its continued lines joined, without comments."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def programs():
    """Every binary of the workspace."""
    members = tomllib.loads(sources.text("Cargo.toml"))["workspace"]["members"]
    found = set()
    for manifest in (path for member in members for path in ROOT.glob(f"{member}/Cargo.toml")):
        crate = tomllib.loads(manifest.read_text())
        named = {program["name"] for program in crate.get("bin", [])}
        found |= named or ({crate["package"]["name"]} if (manifest.parent / "src/main.rs").is_file() else set())
    return found


class Image(unittest.TestCase):
    def test_every_binary_is_in_it(self):
        (build,) = [one for one in instructions() if "cargo build" in one]
        self.assertIn("cargo build --release --locked --workspace --bins", build)
        taken = set(build.split("--target-directory=/out", 1)[1].split())
        self.assertEqual(taken, programs())
        self.assertLessEqual(sources.services(), taken)
        self.assertIn("COPY --from=build /out/ /usr/local/bin/", instructions())

    def test_commands_of_the_chart_are_in_it(self):
        for workload in workloads("dev"):
            (container,) = pod(workload)["containers"]
            self.assertIn(container["command"][0].removeprefix("/usr/local/bin/"), programs())

    def test_the_user_is_a_number_and_the_charts(self):
        (user,) = [one.split()[1] for one in instructions() if one.startswith("USER ")]
        security = pod(workloads("prod")[0])["securityContext"]
        self.assertEqual(user, f"{security['runAsUser']}:{security['runAsGroup']}")
        self.assertEqual(instructions()[-1], f"USER {user}")

    def test_bases_are_named_and_do_not_float(self):
        bases = [one.split()[1] for one in instructions() if one.startswith("FROM ")]
        self.assertEqual(len(bases), 2)
        for base in bases:
            self.assertRegex(base, r"[:@]")
            self.assertNotIn("latest", base)
        self.assertTrue(bases[1].endswith(":nonroot"), "no shell, no root")
        last = instructions()[instructions().index(next(one for one in instructions() if one.startswith(f"FROM {bases[1]}"))) :]
        self.assertFalse([one for one in last if one.startswith("RUN ")], "there is no shell to run anything")

    def test_the_compiler_is_no_older_than_we_need(self):
        needed = tomllib.loads(sources.text("Cargo.toml"))["workspace"]["package"]["rust-version"]
        (given,) = re.findall(r"^FROM rust:([0-9.]+)-", DOCKERFILE, re.M)
        version = lambda text: tuple(map(int, text.split(".")))
        self.assertGreaterEqual(version(given)[:2], version(needed)[:2])

    def test_the_build_sees_what_it_needs_and_no_more(self):
        ignore = sources.text(".dockerignore").splitlines()
        members = {member.split("/")[0] for member in tomllib.loads(sources.text("Cargo.toml"))["workspace"]["members"]}
        let_in = {line[1:] for line in ignore if line.startswith("!")}
        self.assertIn("*", ignore)
        self.assertEqual(let_in, members | {"migrations", "Cargo.toml", "Cargo.lock"})


if __name__ == "__main__":
    unittest.main()
