"""Who does the TLS between services: they, or Istio's sidecars. What is rendered for either, and that nothing is in between."""

import copy
import unittest

import jsonschema
import yaml

from rendered import LOADER, PROFILES, ROOT, by_name, env, merge, objects, pod, read, render, services, values_of

import sources

MUTUAL = sorted(set(PROFILES) - {"sidecar"})
INJECT = "sidecar.istio.io/inject"
ISTIO = ("DestinationRule", "Sidecar", "VirtualService")
CRDS = ROOT.parent / "shared" / "data" / "istio-crds.yaml"


def labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def annotations(workload):
    return workload["spec"]["template"]["metadata"].get("annotations", {})


def listens(deployment):
    return env(deployment)[services()[deployment["metadata"]["name"]].get("listens", "TIFFIN_MESH_LISTEN")]


def protocols(profile):
    return {port["appProtocol"] for one in objects(profile, "Service") for port in one["spec"]["ports"] if port["name"] == "mesh"}


class Mutual(unittest.TestCase):
    def test_services_have_certificates_and_the_chart_has_nothing_of_istios(self):
        for profile in MUTUAL:
            self.assertEqual([one["kind"] for one in objects(profile) if one["kind"] in ISTIO], [])
            self.assertNotIn("sidecars", by_name(profile, "NetworkPolicy"))
            self.assertEqual(protocols(profile), {"https"})
            for name, deployment in by_name(profile, "Deployment").items():
                with self.subTest(profile, service=name):
                    self.assertEqual(env(deployment)["TIFFIN_TLS"], "mutual")
                    self.assertIn(env(deployment)["TIFFIN_TLS_DIR"], [one["mountPath"] for one in pod(deployment)["containers"][0]["volumeMounts"]])
                    self.assertTrue(listens(deployment).startswith("0.0.0.0:"))
                    self.assertNotIn(INJECT, labels(deployment))
                    excluded = annotations(deployment).get("traffic.sidecar.istio.io/excludeInboundPorts")
                    self.assertEqual(excluded, "4000" if name == "gateway" else None)


class Sidecar(unittest.TestCase):
    def test_services_have_no_certificates_and_are_reached_by_a_sidecar_alone(self):
        self.assertEqual(protocols("sidecar"), {"http2"})
        for name, deployment in by_name("sidecar", "Deployment").items():
            with self.subTest(name):
                variables = env(deployment)
                self.assertEqual(variables["TIFFIN_TLS"], "sidecar")
                self.assertNotIn("TIFFIN_TLS_DIR", variables)
                self.assertEqual(listens(deployment), "127.0.0.1:4000")
                self.assertEqual(labels(deployment)[INJECT], "true")
                self.assertEqual(set(annotations(deployment)), {"proxy.istio.io/config"})
                self.assertNotIn("mesh", [one["name"] for one in pod(deployment).get("volumes", [])])
        for job in objects("sidecar", "Job"):
            self.assertEqual(annotations(job)[INJECT], "false")

    def test_each_pod_has_one_sidecar_that_leads_to_where_it_listens(self):
        sidecars = by_name("sidecar", "Sidecar")
        deployments = by_name("sidecar", "Deployment")
        self.assertEqual(set(sidecars), set(deployments))
        for name, deployment in deployments.items():
            spec = sidecars[name]["spec"]
            selector = spec["workloadSelector"]["labels"].items()
            self.assertEqual([other for other, one in deployments.items() if selector <= labels(one).items()], [name])
            mesh, admin = spec["ingress"]
            self.assertEqual((mesh["port"]["number"], mesh["port"]["protocol"]), (4000, "HTTP2"))
            self.assertEqual(mesh["defaultEndpoint"], listens(deployment))
            # The pod's address, as the kubelet's probes find it, which Istio sends there by themselves.
            self.assertEqual((admin["port"]["number"], admin["defaultEndpoint"]), (5000, "0.0.0.0:5000"))
            self.assertEqual(env(deployment)["TIFFIN_ADMIN_LISTEN"], "0.0.0.0:5000")

    def test_a_cluster_of_ipv6_has_its_own_loopback(self):
        found = render(merge(values_of("sidecar"), {"listenAddress": "[::]"}))
        for one in found:
            if one["kind"] == "Deployment":
                self.assertEqual(listens(one), "[::1]:4000")
            if one["kind"] == "Sidecar":
                self.assertEqual([port["defaultEndpoint"] for port in one["spec"]["ingress"]], ["[::1]:4000", "[::]:5000"])

    def test_the_rules_are_those_for_mutual_tls_but_for_the_tls(self):
        theirs = {one["metadata"]["name"]: one["spec"] for one in sources.istio() if one["kind"] == "DestinationRule"}
        ours = {name: copy.deepcopy(one["spec"]) for name, one in by_name("sidecar", "DestinationRule").items()}
        # It is there for services with TLS of their own.
        self.assertEqual(set(theirs) - set(ours), {"gateway-for-peers"})
        for name in ("gateway", "services"):
            self.assertEqual(ours[name]["trafficPolicy"].pop("tls"), {"mode": "ISTIO_MUTUAL"})
            expected = copy.deepcopy(theirs[name])
            expected["trafficPolicy"].pop("tls")
            self.assertEqual(ours[name], expected)

    def test_nobody_is_asked_twice(self):
        routes = by_name("sidecar", "VirtualService")
        self.assertEqual(set(routes), set(by_name("sidecar", "Service")) | {"payments"})
        for one in routes.values():
            (host,) = one["spec"]["hosts"]
            (route,) = one["spec"]["http"]
            self.assertEqual(route, {"retries": {"attempts": 0}, "route": [{"destination": {"host": host}}]})

    def test_the_payment_provider_is_its_identity_or_nobody(self):
        rule = by_name("sidecar", "DestinationRule")["payments"]["spec"]
        self.assertEqual(rule["host"], "payments.payments.svc.cluster.local")
        tls = {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["spiffe://tiffin.local/ns/tiffin/sa/sandbox-payments"]}
        self.assertEqual(rule["trafficPolicy"]["tls"], tls)

        for url in ("https://provider:4000", "https://provider.tiffin.svc:4000", "https://provider.tiffin.svc.cluster.local:4000"):
            values = merge(values_of("sidecar"), {"services": {"basket-master": {"settings": {"TIFFIN_PAYMENTS_URL": url}}}})
            rules = {one["metadata"]["name"]: one["spec"] for one in render(values) if one["kind"] == "DestinationRule"}
            self.assertEqual(rules["payments"]["host"], "provider.tiffin.svc.cluster.local")

    def test_sidecars_reach_what_tells_them_whom_to_let_in(self):
        spec = by_name("sidecar", "NetworkPolicy")["sidecars"]["spec"]
        (rule,) = spec["egress"]
        self.assertEqual(rule, {"to": read("values.yaml")["istiod"]["allow"], "ports": [{"protocol": "TCP", "port": 15012}]})
        for deployment in objects("sidecar", "Deployment"):
            self.assertLessEqual(spec["podSelector"]["matchLabels"].items(), labels(deployment).items())
        for job in objects("sidecar", "Job"):
            self.assertFalse(spec["podSelector"]["matchLabels"].items() <= labels(job).items())

    def test_the_ingress_alone_has_a_certificate_of_cert_managers(self):
        found = render(merge(values_of("dev"), {"tls": "sidecar"}))
        self.assertEqual([one["metadata"]["name"] for one in found if one["kind"] == "Certificate"], ["ingress-mesh"])
        # The stand-in is one of the services, and needs no rule of its own.
        self.assertNotIn("payments", [one["metadata"]["name"] for one in found if one["kind"] in ISTIO])

    def test_istio_takes_them(self):
        if not CRDS.exists():
            self.skipTest(f"Istio's schemas are not at {CRDS}")
        schemas = {}
        for crd in yaml.load_all(CRDS.read_text(), Loader=LOADER):
            for version in crd["spec"]["versions"] if crd else ():
                group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
                schemas[f"{group}/{version['name']}", kind] = strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
        found = [one for one in objects("sidecar") if one["kind"] in ISTIO]
        self.assertGreater(len(found), 20)
        for one in found:
            with self.subTest(one["kind"], name=one["metadata"]["name"]):
                schema = schemas[one["apiVersion"], one["kind"]]
                jsonschema.validate(one["spec"], schema)
                with self.assertRaises(jsonschema.ValidationError):
                    jsonschema.validate(one["spec"] | {"misspelt": 1}, schema)


def strict(schema):
    """The schema, taking no field that it does not name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


if __name__ == "__main__":
    unittest.main()
