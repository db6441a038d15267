"""What must hold for every object: who reaches whom, what a pod may do, what it is told, and how it is found."""

import re
import unittest

from rendered import PROFILES, by_name, call_graph, env, objects, pod, services, values_of, workloads

import sources

MESH = 4000
ADMIN = 5000
TRUST = "tiffin.local/ns/tiffin/sa/"
SPIFFE = f"spiffe://{TRUST}"

# Of the table of services, what no cluster runs: it speaks plain text, which its one client does on loopback alone.
LOCAL_ONLY = {"sandbox-mail"}

# Calls to whoever is at an address out of a setting, and those of the one who is not ours.
BY_ADDRESS = {("ingress", "gateway"), ("basket-master", "sandbox-payments"), ("sandbox-payments", "gateway")}


def each_profile(check):
    """Runs a test once per profile."""

    def run(self):
        for profile in PROFILES:
            with self.subTest(profile):
                check(self, profile)

    return run


def selects(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def running(profile):
    return set(by_name(profile, "Deployment"))


def pod_labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def policies_of(profile, labels):
    found = objects(profile, "NetworkPolicy")
    return [one for one in found if selects(one["spec"]["podSelector"].get("matchLabels", {}), labels)]


def principals(policies, labels):
    """Whom Istio's ALLOW policies for pods with these labels let in."""
    specs = [one["spec"] for one in policies if one.get("spec")]
    allow = [spec for spec in specs if spec.get("action", "ALLOW") == "ALLOW"]
    mine = [spec for spec in allow if "selector" in spec and selects(spec["selector"]["matchLabels"], labels)]
    return {
        principal
        for spec in mine
        for rule in spec.get("rules", [])
        for where in rule.get("from", [])
        for principal in where["source"].get("principals", [])
    }


class CallGraph(unittest.TestCase):
    def test_it_names_services_and_the_ingress_alone(self):
        known = set(services())
        for caller, callees in call_graph().items():
            self.assertIn(caller, known | {"ingress"})
            self.assertLessEqual(set(callees), known - {caller}, caller)
            self.assertTrue(all(isinstance(why, str) and why for why in callees.values()), caller)

    def test_every_call_is_one_that_the_callee_answers(self):
        for caller, callees in call_graph().items():
            for callee in callees:
                with self.subTest(f"{caller} -> {callee}"):
                    self.assertIn(caller, sources.peers_of(callee))

    def test_it_is_the_calls_that_the_code_makes(self):
        graph = {(caller, callee) for caller, callees in call_graph().items() for callee in callees}
        self.assertEqual(graph, sources.calls() | BY_ADDRESS)

    def test_the_services_of_the_chart_are_those_of_the_platform(self):
        self.assertEqual(set(services()), sources.services() - LOCAL_ONLY)
        for profile in PROFILES:
            left_out = {"sandbox-payments"} - running(profile)
            self.assertEqual(running(profile), set(services()) - left_out)
        self.assertNotIn("sandbox-payments", running("prod"))


class Network(unittest.TestCase):
    @each_profile
    def test_nothing_is_allowed_unless_a_policy_says_so(self, profile):
        deny = by_name(profile, "NetworkPolicy")["default-deny"]["spec"]
        self.assertEqual(deny, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})

    @each_profile
    def test_policies_are_the_call_graph(self, profile):
        allowed, reachable = set(), set()
        deployments = by_name(profile, "Deployment")
        everyone = {name: pod_labels(one) for name, one in deployments.items()}
        for name, labels in everyone.items():
            own = [one for one in policies_of(profile, labels) if one["metadata"]["name"] == name]
            self.assertEqual(len(own), 1, name)
            spec = own[0]["spec"]
            self.assertEqual(spec["policyTypes"], ["Ingress", "Egress"])
            for rule in spec["ingress"]:
                if rule["ports"] != [{"protocol": "TCP", "port": "mesh"}]:
                    self.assertEqual(rule["ports"], [{"protocol": "TCP", "port": "admin"}], name)
                    self.assertEqual(rule["from"], values_of(profile)["monitoring"].get("allow", rule["from"]))
                    continue
                callers = self.named(rule["from"], everyone)
                allowed |= {(caller, name) for caller in callers or {"ingress"}}
            for rule in spec["egress"]:
                if rule["ports"] == [{"protocol": "TCP", "port": "mesh"}]:
                    reachable |= {(name, callee) for callee in self.named(rule["to"], everyone)}
        there = set(deployments) | {"ingress"}
        graph = {(a, b) for a, callees in call_graph().items() for b in callees if a in there and b in there}
        self.assertEqual(allowed, graph)
        self.assertEqual(reachable, {(a, b) for a, b in graph if a != "ingress"})

    def named(self, peers, everyone):
        """The services that peers select; each selector must select exactly one."""
        found = set()
        for peer in peers:
            selector = peer.get("podSelector", {}).get("matchLabels", {})
            names = {name for name, labels in everyone.items() if selects(selector, labels)}
            self.assertLessEqual(len(names), 1)
            found |= names
        return found

    @each_profile
    def test_every_service_has_one(self, profile):
        for service in objects(profile, "Service"):
            policies = policies_of(profile, service["spec"]["selector"])
            self.assertIn(service["metadata"]["name"], [one["metadata"]["name"] for one in policies])

    @each_profile
    def test_no_rule_is_for_everybody(self, profile):
        for policy in objects(profile, "NetworkPolicy"):
            for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
                peers = rule.get("from", rule.get("to"))
                self.assertTrue(peers and all(peers), policy["metadata"]["name"])
                self.assertTrue(rule["ports"], policy["metadata"]["name"])

    @each_profile
    def test_migrations_reach_their_database_alone(self, profile):
        for job in objects(profile, "Job"):
            own = [one for one in policies_of(profile, pod_labels(job)) if one["metadata"]["name"] not in ("default-deny", "names")]
            self.assertEqual([one["metadata"]["name"] for one in own], [job["metadata"]["name"]])
            self.assertNotIn("ingress", own[0]["spec"])
            self.assertEqual(len(own[0]["spec"]["egress"]), 1)

    def test_a_store_is_reached_by_those_that_have_it(self):
        ports = {"postgres": 5432, "nats": 4222, "redis": 6379}
        policies = by_name("prod", "NetworkPolicy")
        for name in running("prod"):
            reached = {rule["ports"][0]["port"] for rule in policies[name]["spec"]["egress"]}
            for store, port in ports.items():
                self.assertEqual(port in reached, store in services()[name]["needs"], f"{name} and {store}")

    def test_istio_allows_the_same(self):
        policies = [one for one in objects("prod") + sources.istio() if one["kind"] == "AuthorizationPolicy"]
        if not policies:
            self.skipTest("there is no AuthorizationPolicy yet")
        self.assertIn({}, [one.get("spec") or {} for one in policies], "whoever is not allowed is denied")
        for name, deployment in by_name("prod", "Deployment").items():
            callers = {caller for caller, callees in call_graph().items() if name in callees}
            with self.subTest(name):
                self.assertEqual(principals(policies, pod_labels(deployment)), {TRUST + caller for caller in callers})

    def test_principals_are_those_of_policies_that_select(self):
        policy = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "rules": [{"from": [{"source": {"principals": ["x"]}}]}]}}
        denied = {"spec": policy["spec"] | {"action": "DENY"}}
        self.assertEqual(principals([policy], {"a": "b", "c": "d"}), {"x"})
        self.assertEqual(principals([policy], {"a": "c"}), set())
        self.assertEqual(principals([denied], {"a": "b"}), set())


class Pods(unittest.TestCase):
    @each_profile
    def test_all_are_restricted(self, profile):
        self.assertTrue(objects(profile, "Job"))
        for workload in workloads(profile):
            spec = pod(workload)
            name = workload["metadata"]["name"]
            security = spec["securityContext"]
            self.assertTrue(security["runAsNonRoot"], name)
            self.assertGreater(security["runAsUser"], 0, name)
            self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"}, name)
            self.assertIs(spec["automountServiceAccountToken"], False, name)
            self.assertIs(spec["enableServiceLinks"], False, name)
            for forbidden in ("hostNetwork", "hostPID", "hostIPC", "initContainers", "shareProcessNamespace"):
                self.assertNotIn(forbidden, spec, name)
            for container in spec["containers"]:
                own = container["securityContext"]
                self.assertIs(own["allowPrivilegeEscalation"], False, name)
                self.assertIs(own["readOnlyRootFilesystem"], True, name)
                self.assertIs(own["runAsNonRoot"], True, name)
                self.assertEqual(own["capabilities"], {"drop": ["ALL"]}, name)
                self.assertNotIn("privileged", own, name)
                self.assertTrue(all("hostPort" not in port for port in container.get("ports", [])), name)
                self.assertIn("memory", container["resources"]["limits"], name)
                self.assertEqual(set(container["resources"]["requests"]), {"cpu", "memory"}, name)
            for volume in spec.get("volumes", []):
                kinds = set(volume) - {"name"}
                self.assertLessEqual(kinds, {"secret", "configMap", "csi", "emptyDir"}, name)

    @each_profile
    def test_nobody_has_a_literal_secret(self, profile):
        self.assertEqual(objects(profile, "Secret"), [])
        for workload in workloads(profile):
            variables = env(workload)
            for name, value in variables.items():
                if re.search("PASSWORD|SECRET|TOKEN|_KEY$|_EMAIL$", name):
                    self.assertEqual(list(value), ["secretKeyRef"], name)
                elif isinstance(value, str) and "@" in value and "://" in value:
                    self.assertRegex(value, r"://[a-z_-]+:\$\([A-Z_]+\)@", name)

    @each_profile
    def test_a_variable_is_expanded_from_one_before_it(self, profile):
        for workload in workloads(profile):
            seen = set()
            for name, value in env(workload).items():
                for used in re.findall(r"\$\(([^)]*)\)", value if isinstance(value, str) else ""):
                    self.assertIn(used, seen, f"{workload['metadata']['name']}: {name}")
                seen.add(name)

    @each_profile
    def test_owners_credentials_are_with_migrations_alone(self, profile):
        masters = {name for name, what in services().items() if "postgres" in what["needs"]}
        self.assertEqual({one["metadata"]["name"] for one in objects(profile, "Job")}, {f"{name}-migrate" for name in masters})
        for workload in workloads(profile):
            secrets = {value["secretKeyRef"]["name"] for value in env(workload).values() if isinstance(value, dict)}
            is_job = workload["kind"] == "Job"
            for secret in secrets:
                self.assertEqual(secret.endswith("-owner"), is_job, f"{workload['metadata']['name']} reads {secret}")

    @each_profile
    def test_a_service_reads_its_own_secrets_alone(self, profile):
        for workload in workloads(profile):
            service = workload["metadata"]["labels"]["app.kubernetes.io/name"]
            own = {f"{service}-credentials", f"{service}-owner", "platform-credentials"}
            for value in env(workload).values():
                if isinstance(value, dict):
                    self.assertIn(value["secretKeyRef"]["name"], own)
            for volume in pod(workload).get("volumes", []):
                if "secret" in volume:
                    self.assertEqual(volume["secret"]["secretName"], f"{service}-mesh")

    @each_profile
    def test_images_are_one_and_do_not_move(self, profile):
        images = {container["image"] for one in workloads(profile) for container in pod(one)["containers"]}
        self.assertEqual(len(images), 1)
        (image,) = images
        self.assertRegex(image, r"^[^@]+(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]*)$")
        self.assertNotIn("latest", image)

    @each_profile
    def test_business_time_is_real_time(self, profile):
        for deployment in objects(profile, "Deployment"):
            variables = env(deployment)
            if "platform" in services()[deployment["metadata"]["name"]]["needs"]:
                self.assertEqual(variables["TIFFIN_CLOCK_RATE"], "1")
            self.assertFalse([name for name in variables if name.startswith("TIFFIN_CLOCK_ORIGIN")])

    def test_stores_are_spoken_to_over_tls(self):
        for profile in set(PROFILES) - {"dev"}:
            for workload in workloads(profile):
                for name, value in env(workload).items():
                    if name.endswith("_URL") and isinstance(value, str):
                        secret = value.startswith(("https://", "tls://", "rediss://")) or "sslmode=verify-" in value
                        self.assertTrue(secret, f"{profile}, {workload['metadata']['name']}: {name}")


class Found(unittest.TestCase):
    @each_profile
    def test_an_identity_is_an_account_of_the_same_name(self, profile):
        accounts = by_name(profile, "ServiceAccount")
        for account in accounts.values():
            self.assertIs(account["automountServiceAccountToken"], False)
        for workload in workloads(profile):
            name = workload["metadata"]["name"]
            self.assertEqual(pod(workload)["serviceAccountName"], name)
            self.assertIn(name, accounts)

    def test_certificates_name_one_identity(self):
        certificates = by_name("dev", "Certificate")
        self.assertEqual(set(certificates), {f"{name}-mesh" for name in running("dev") | {"ingress"}})
        for name, one in certificates.items():
            spec = one["spec"]
            self.assertEqual(spec["uris"], [SPIFFE + name.removesuffix("-mesh")])
            self.assertEqual(spec["secretName"], name)
            self.assertTrue({"server auth", "client auth"} <= set(spec["usages"]))
            self.assertFalse({"dnsNames", "commonName", "isCA"} & set(spec))

    @each_profile
    def test_ports_are_those_that_the_process_listens_on(self, profile):
        for deployment in objects(profile, "Deployment"):
            name = deployment["metadata"]["name"]
            (container,) = pod(deployment)["containers"]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            listens = env(deployment)[services()[name].get("listens", "TIFFIN_MESH_LISTEN")]
            self.assertEqual(ports, {"mesh": MESH, "admin": ADMIN})
            self.assertTrue(listens.endswith(f":{MESH}"), name)
            self.assertTrue(env(deployment)["TIFFIN_ADMIN_LISTEN"].endswith(f":{ADMIN}"), name)
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container[probe]["httpGet"]
                self.assertEqual(asked["port"], "admin", f"{name}: {probe}")
                self.assertIn(asked["path"], sources.admin_routes(), f"{name}: {probe}")
            self.assertEqual(container["command"], [f"/usr/local/bin/{name}"])

    @each_profile
    def test_services_lead_to_their_pods(self, profile):
        deployments = by_name(profile, "Deployment")
        found = by_name(profile, "Service")
        self.assertEqual(set(found), set(deployments))
        for name, service in found.items():
            spec = service["spec"]
            reached = {other for other, one in deployments.items() if selects(spec["selector"], pod_labels(one))}
            self.assertEqual(reached, {name})
            self.assertEqual([(port["port"], port["targetPort"]) for port in spec["ports"]], [(MESH, "mesh"), (ADMIN, "admin")])
            self.assertFalse([job for job in objects(profile, "Job") if selects(spec["selector"], pod_labels(job))])

    @each_profile
    def test_every_deployment_has_a_budget_and_spreads(self, profile):
        budgets = by_name(profile, "PodDisruptionBudget")
        for name, deployment in by_name(profile, "Deployment").items():
            labels = pod_labels(deployment)
            self.assertTrue(selects(budgets[name]["spec"]["selector"]["matchLabels"], labels))
            self.assertEqual(budgets[name]["spec"]["maxUnavailable"], 1)
            spread = pod(deployment)["topologySpreadConstraints"]
            self.assertEqual([one["topologyKey"] for one in spread], ["topology.kubernetes.io/zone", "kubernetes.io/hostname"])
            for one in spread:
                self.assertTrue(selects(one["labelSelector"]["matchLabels"], labels))

    @each_profile
    def test_scalers_and_replicas_do_not_fight(self, profile):
        scalers = by_name(profile, "HorizontalPodAutoscaler")
        for name, deployment in by_name(profile, "Deployment").items():
            self.assertNotEqual(name in scalers, "replicas" in deployment["spec"], name)
        for name, scaler in scalers.items():
            self.assertEqual(scaler["spec"]["scaleTargetRef"]["name"], name)
            self.assertLessEqual(scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"])

    def test_production_outlives_a_node(self):
        scalers = by_name("prod", "HorizontalPodAutoscaler")
        self.assertEqual(set(scalers), running("prod"))
        self.assertTrue(all(scaler["spec"]["minReplicas"] >= 2 for scaler in scalers.values()))

    def test_prometheus_is_told_of_every_service(self):
        monitors = by_name("prod", "ServiceMonitor")
        self.assertEqual(set(monitors), set(by_name("prod", "Service")))
        self.assertEqual(objects("dev", "ServiceMonitor"), [])
        for name, service in by_name("prod", "Service").items():
            spec = monitors[name]["spec"]
            self.assertTrue(selects(spec["selector"]["matchLabels"], service["metadata"]["labels"]))
            self.assertEqual([(one["port"], one["path"]) for one in spec["endpoints"]], [("admin", "/metrics")])
            self.assertIn("/metrics", sources.admin_routes())

    def test_migrations_come_before_everything(self):
        for job in objects("prod", "Job"):
            hooks = job["metadata"]["annotations"]
            self.assertEqual(hooks["helm.sh/hook"], "pre-install,pre-upgrade")
            account = by_name("prod", "ServiceAccount")[job["metadata"]["name"]]["metadata"]["annotations"]
            self.assertEqual(account["helm.sh/hook"], hooks["helm.sh/hook"])
            self.assertLess(int(account["helm.sh/hook-weight"]), int(hooks["helm.sh/hook-weight"]))
            (container,) = pod(job)["containers"]
            name = job["metadata"]["name"].removesuffix("-migrate")
            self.assertEqual((container["command"], container["args"]), ([f"/usr/local/bin/{name}"], ["migrate"]))

    def test_regions_share_nothing(self):
        a, b = ({name: env(one) for name, one in by_name(profile, "Deployment").items()} for profile in ("two-region-a", "two-region-b"))
        for name in a:
            for variable in ("TIFFIN_REGION", "TIFFIN_POSTGRES_URL", "TIFFIN_NATS_URL", "TIFFIN_REDIS_URL", "TIFFIN_JWT_ISSUER"):
                if variable in a[name]:
                    self.assertNotEqual(a[name][variable], b[name][variable], f"{name}: {variable}")


if __name__ == "__main__":
    unittest.main()
