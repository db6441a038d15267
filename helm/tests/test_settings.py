"""What the chart tells a service is what that service reads, by its own `--help`; and it starts with it."""

import re
import unittest

from rendered import PROFILES, by_name, env, services

import sources

# Settings that no cluster sets, and why.
NEVER_SET = {
    "TIFFIN_UPSTREAMS": "services have the names and ports of the cluster, where they look by default",
    "TIFFIN_CLOCK_ORIGIN_WALL": "business time is real time",
    "TIFFIN_CLOCK_ORIGIN_BUSINESS": "business time is real time",
    "TIFFIN_PUBLIC_LISTEN": "people come by the ingress",
    "TIFFIN_PUBLIC_TLS_DIR": "people come by the ingress",
    "TIFFIN_BUS_PREFIX": "only tests share a broker",
    "TIFFIN_REDIS_PREFIX": "the service's own name is right",
}

# Not set where a sidecar has the certificates.
NOT_WITH_A_SIDECAR = {"TIFFIN_TLS_DIR"}

# Read by libraries.
LIBRARIES = {
    "TOKIO_WORKER_THREADS": "the runtime's threads",
    "SSL_CERT_DIR": "authorities that NATS' and Redis' clients trust",
}

# Settings of `migrate` alone.
OF_MIGRATE = {"TIFFIN_POSTGRES_OWNER_URL", "TIFFIN_OPERATOR_EMAIL", "TIFFIN_OPERATOR_PASSWORD"}

# Set only together with another one.
WITH_ANOTHER = {"TIFFIN_SMTP_PASSWORD": "TIFFIN_SMTP_USER"}


def expanded(variables):
    """As a process sees them: secrets made up, references expanded."""
    seen = {}
    for name, value in variables.items():
        if isinstance(value, dict):
            value = "0123456789abcdef" * 4
        seen[name] = re.sub(r"\$\(([A-Z_]+)\)", lambda used: seen[used.group(1)], value)
    return seen


class Settings(unittest.TestCase):
    def test_every_variable_is_read(self):
        for profile in PROFILES:
            for kind in ("Deployment", "Job"):
                for name, workload in by_name(profile, kind).items():
                    service = name.removesuffix("-migrate")
                    variables = env(workload)
                    used = set(re.findall(r"\$\(([A-Z_]+)\)", str(list(variables.values()))))
                    for variable in variables:
                        with self.subTest(profile, service=name, variable=variable):
                            if variable.startswith("TIFFIN_"):
                                self.assertIn(variable, sources.settings(service))
                                self.assertEqual(variable in OF_MIGRATE, kind == "Job")
                            else:
                                self.assertIn(variable, used | set(LIBRARIES))

    def test_everything_that_is_read_is_set(self):
        for profile in PROFILES:
            jobs = by_name(profile, "Job")
            for service, deployment in by_name(profile, "Deployment").items():
                variables = env(deployment)
                told = set(variables)
                if f"{service}-migrate" in jobs:
                    told |= set(env(jobs[f"{service}-migrate"]))
                for variable, required in sources.settings(service).items():
                    with self.subTest(profile, service=service, variable=variable):
                        if variable in NEVER_SET:
                            self.assertNotIn(variable, told)
                            self.assertFalse(required, "a required setting must be set")
                        elif variable in WITH_ANOTHER:
                            self.assertEqual(variable in told, bool(variables[WITH_ANOTHER[variable]]))
                        elif variable in NOT_WITH_A_SIDECAR:
                            self.assertEqual(variable in told, variables["TIFFIN_TLS"] == "mutual")
                        else:
                            self.assertIn(variable, told)

    def test_what_is_never_set_exists(self):
        exist = {variable for service in services() for variable in sources.settings(service)}
        self.assertLessEqual(set(NEVER_SET) | OF_MIGRATE | set(WITH_ANOTHER) | NOT_WITH_A_SIDECAR, exist)

    def test_every_service_accepts_what_it_is_told(self):
        for profile in set(PROFILES) - {"sidecar"}:
            for service, deployment in by_name(profile, "Deployment").items():
                with self.subTest(profile, service=service):
                    ended = sources.run(service, "serve", env=expanded(env(deployment)))
                    # The settings were good: what it lacks next is its certificate.
                    self.assertNotIn("bad settings", ended.stderr)
                    self.assertIn("/etc/tiffin/mesh", ended.stderr)
                    self.assertNotEqual(ended.returncode, 0)

    def test_a_service_refuses_what_is_wrong_and_nothing_else(self):
        for profile in ("prod", "sidecar"):
            for service, deployment in by_name(profile, "Deployment").items():
                with self.subTest(profile, service=service):
                    ended = sources.run(service, "serve", env=expanded(env(deployment)) | {"TIFFIN_ADMIN_LISTEN": "admin"})
                    self.assertEqual(re.findall(r"^  (TIFFIN_\w+): ", ended.stderr, re.M), ["TIFFIN_ADMIN_LISTEN"])

    def test_behind_a_sidecar_a_service_listens_on_loopback_or_not_at_all(self):
        for service, deployment in by_name("sidecar", "Deployment").items():
            variables = expanded(env(deployment))
            listens = services()[service].get("listens", "TIFFIN_MESH_LISTEN")
            with self.subTest(service):
                ended = sources.run(service, "serve", env=variables | {listens: "0.0.0.0:4000"})
                self.assertEqual(re.findall(r"^  (TIFFIN_\w+): ", ended.stderr, re.M), [listens])


if __name__ == "__main__":
    unittest.main()
