"""Bad values are refused, and the refusal says which and why."""

import copy
import json
import unittest

import helm_python

from rendered import CHART, NAMESPACE, by_name, merge, read, render, values_of

BAD = read("tests/bad-values.yaml")

# Maps whose keys are the operator's own.
FREE = {"matchLabels", "labels"}


def maps_in(node, path=()):
    """Every map of the values, with the way to it."""
    if isinstance(node, dict):
        yield path
        for key, value in node.items():
            yield from maps_in(value, (*path, key))
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from maps_in(value, (*path, at))


class Values(unittest.TestCase):
    def test_bad_values_are_refused(self):
        self.assertGreaterEqual(len(BAD), 30)
        render(values_of("prod"))  # What they are put on is good.
        for bad in BAD:
            with self.subTest(bad["why"]), self.assertRaises(helm_python.HelmError) as refused:
                render(merge(values_of("prod"), bad["set"]), bad.get("namespace", NAMESPACE))
            # The engine's words for the place differ in their separators only.
            said = str(refused.exception).replace("'", "")
            with self.subTest(bad["why"]):
                self.assertIn(bad["says"], said)

    def test_no_map_takes_a_key_that_it_does_not_know(self):
        defaults = read("values.yaml")
        tried = 0
        for path in maps_in(defaults):
            if path and path[-1] in FREE:
                continue
            values = copy.deepcopy(defaults)
            place = values
            for key in path:
                place = place[key]
            place["misspelt"] = 1
            with self.subTest("/".join(map(str, path))), self.assertRaises(helm_python.HelmError):
                render(values)
            tried += 1
        self.assertGreater(tried, 40)

    def test_no_branch_of_the_schema_is_open(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        open_at = []

        def walk(node, path):
            if isinstance(node, dict):
                closes = node.get("additionalProperties") is False
                if node.get("type") == "object" and "properties" in node and not closes and "$defs/withoutSettings" not in path:
                    open_at.append(path)
                for key, value in node.items():
                    walk(value, f"{path}/{key}")
            elif isinstance(node, list):
                for at, value in enumerate(node):
                    walk(value, f"{path}/{at}")

        walk(schema, "")
        self.assertEqual(open_at, [])

    def test_a_service_can_say_no_where_the_default_says_yes(self):
        values = merge(values_of("prod"), {"services": {"notifier": {"autoscaling": {"enabled": False}}}})
        kinds = {one["metadata"]["name"] for one in render(values) if one["kind"] == "HorizontalPodAutoscaler"}
        self.assertNotIn("notifier", kinds)
        self.assertIn("notifier", by_name("prod", "HorizontalPodAutoscaler"))


if __name__ == "__main__":
    unittest.main()
