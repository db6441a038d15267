"""The README says what the chart has: its values, its Secrets, its profiles."""

import re
import unittest

import readme
import sources

from rendered import CHART, PROFILES, by_name, env, services, workloads

VALUES = (CHART / "values.yaml").read_text()
README = (CHART / "README.md").read_text()


class Readme(unittest.TestCase):
    def test_the_table_of_values_is_up_to_date(self):
        self.assertEqual(README, readme.made(README, VALUES), "run `target/chart-venv/bin/python helm/tests/readme.py`")

    def test_every_value_says_why(self):
        self.assertEqual(readme.undocumented(VALUES), [])
        self.assertGreater(len(readme.table(VALUES).splitlines()), 50)

    def test_it_lists_every_secret_and_key(self):
        asked = set()
        for profile in PROFILES:
            for workload in workloads(profile):
                service = workload["metadata"]["labels"]["app.kubernetes.io/name"]
                for value in env(workload).values():
                    if isinstance(value, dict):
                        secret = value["secretKeyRef"]
                        asked.add((secret["name"].replace(service, "SERVICE"), secret["key"]))
        listed = set()
        for names, keys in re.findall(r"^\| `([A-Za-z-]+)` \|[^|]*\|([^|]*)\|$", README.split(readme.BEGIN)[0], re.M):
            listed |= {(names, key) for key in re.findall(r"`([a-z-]+)`", keys)}
        self.assertEqual(listed, asked, "keys that the README lists, and keys that the chart asks for")

    def test_it_names_every_profile(self):
        for file in sorted(CHART.glob("values-*.yaml")):
            self.assertIn(file.name, README)
            self.assertIn(file.name, [name for names in PROFILES.values() for name in names])

    def test_users_of_the_bus_may_publish_what_they_own(self):
        rows = {name: line for line in README.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z-]+)`", line.split("|")[1])}
        owned = sources.owners()
        self.assertGreater(len(owned), 5)
        for name, what in services().items():
            if "nats" in what["needs"]:
                subjects = set(re.findall(r"`ev\.\*\.([A-Z]+)\.\*`", rows[name]))
                self.assertEqual(subjects, {context.upper() for context, owner in owned.items() if owner == name})

    def test_it_knows_how_many_connections_production_may_open(self):
        scalers = by_name("prod", "HorizontalPodAutoscaler")
        masters = [scalers[name] for name, what in services().items() if "postgres" in what["needs"]]
        most = sum(12 * one["spec"]["maxReplicas"] for one in masters)
        self.assertIn(f"= {most} |", README)


if __name__ == "__main__":
    unittest.main()
