"""Every profile renders, passes Helm's lint, and is what the newest four Kubernetes versions accept, strictly."""

import copy
import functools
import unittest

import helm_python
import kubernetes_validate
from kubernetes_validate import utils

from rendered import CHART, NAMESPACE, PROFILES, objects, values_of

# Each is there twice, with a strict form.
VERSIONS = list(dict.fromkeys(utils.all_versions()))[-4:]

# Kinds of others, whose schemas are not Kubernetes' own.
FOREIGN = {"Certificate", "DestinationRule", "ServiceMonitor", "Sidecar", "VirtualService"}

# Each file is a megabyte or more and would be read anew for every object.
utils.schema_contents = functools.cache(utils.schema_contents)


class Render(unittest.TestCase):
    def test_lint_finds_nothing(self):
        for profile in PROFILES:
            with self.subTest(profile):
                report = helm_python.lint(CHART, values_of(profile), namespace=NAMESPACE, strict=True)
                warnings = [one for one in report["messages"] if one["severity"] >= 2]
                self.assertEqual((report["total_charts_linted"], report["errors"], warnings), (1, [], []))

    def test_objects_fit_four_versions_of_kubernetes(self):
        self.assertEqual(len(set(VERSIONS)), 4)
        for profile in PROFILES:
            checked = 0
            for one in objects(profile):
                if one["kind"] in FOREIGN:
                    continue
                for version in VERSIONS:
                    with self.subTest(profile, kind=one["kind"], name=one["metadata"]["name"], version=version):
                        kubernetes_validate.validate(one, version, strict=True)
                        checked += 1
            self.assertGreater(checked, 4 * 50, f"{profile} has objects to check")

    def test_the_schemas_are_strict(self):
        for one in objects("prod"):
            if one["kind"] in FOREIGN:
                continue
            odd = copy.deepcopy(one)
            (odd["metadata"] if "spec" not in odd else odd["spec"])["misspelt"] = 1
            with self.subTest(kind=one["kind"]), self.assertRaises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(odd, VERSIONS[-1], strict=True)

    def test_names_are_unique(self):
        for profile in PROFILES:
            names = [(one["kind"], one["metadata"]["name"]) for one in objects(profile)]
            self.assertEqual(len(names), len(set(names)), profile)


if __name__ == "__main__":
    unittest.main()
