"""Envoy on one machine and Istio in a cluster are one policy: compared point by point, so that neither moves alone."""

import json
import re

import pytest
import yaml

import chain

ROOT = chain.MESH.parent
TRUST = chain.TRUST.removeprefix("spiffe://")


@pytest.fixture(scope="module")
def envoy_says():
    numbers = {"listen_port": 1, "admin_port": 2, "gateway_port": 3}
    return yaml.safe_load(chain.render("envoy/envoy.yaml", gateway_address="127.0.0.1", folder="/", issuer=chain.ISSUER,
                                       audience=chain.AUDIENCE, **numbers))


@pytest.fixture(scope="module")
def manager(envoy_says):
    return envoy_says["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


@pytest.fixture(scope="module")
def istio_says():
    files = sorted((chain.MESH / "istio").glob("*.yaml"))
    found = [resource for file in files for resource in yaml.safe_load_all(file.read_text())]
    return {(resource["kind"], resource["metadata"]["name"]): resource["spec"] for resource in found}


def http_filter(manager, name):
    return next(one["typed_config"] for one in manager["http_filters"] if one["name"] == name)


def seconds(duration):
    return float(duration.removesuffix("ms")) / 1000 if duration.endswith("ms") else float(duration.removesuffix("s"))


def test_issuer_audience_and_where_a_token_is(manager, istio_says):
    provider = http_filter(manager, "tokens")["providers"]["people"]
    [rule] = istio_says["RequestAuthentication", "people"]["jwtRules"]
    assert (provider["issuer"], provider["audiences"]) == (rule["issuer"], rule["audiences"])
    assert [(one["name"], one["value_prefix"]) for one in provider["from_headers"]] == [
        (one["name"], one["prefix"]) for one in rule["fromHeaders"]]
    assert provider["forward"] is rule["forwardOriginalToken"] is True
    assert provider["remote_jwks"]["http_uri"]["timeout"] == rule["timeout"]
    ends = {re.sub(r"https://[^/]+", "", uri) for uri in (provider["remote_jwks"]["http_uri"]["uri"], rule["jwksUri"])}
    assert ends == {"/.well-known/jwks.json"}


def test_issuer_and_audience_are_the_gateways_own():
    config = (ROOT / "gateway" / "src" / "config.rs").read_text()
    defaults = dict(re.findall(r'"(TIFFIN_JWT_\w+)",\s*"([^"]+)"', config))
    assert defaults == {"TIFFIN_JWT_ISSUER": chain.ISSUER, "TIFFIN_JWT_AUDIENCE": chain.AUDIENCE}


def test_what_is_tighter_than_istio_can_say_is_the_gateways_own(manager):
    verifier = (chain.MESH / "identity" / "src" / "jwt" / "verifier.rs").read_text()
    jwt = (chain.MESH / "identity" / "src" / "jwt.rs").read_text()
    provider = http_filter(manager, "tokens")["providers"]["people"]
    lua = (chain.MESH / "envoy" / "token.lua").read_text()
    [life] = re.findall(r"LIFETIME_MAX: Duration = Duration::from_secs\((\d+)\)", jwt)
    assert provider["max_lifetime"] == f"{life}s" and f"exp - iat <= {life}" in lua
    [leeway] = re.findall(r"LEEWAY: Duration = Duration::from_secs\((\d+)\)", verifier)
    assert provider["clock_skew_seconds"] == int(leeway) and f"os.time() + {leeway}" in lua
    [size] = re.findall(r"TOKEN_BYTES_MAX: usize = (\d+)", verifier)
    assert provider["jwt_cache_config"]["jwt_max_token_size"] == int(size) and f"<= {size}" in lua
    [typ] = re.findall(r'TYP: &str = "([^"]+)"', jwt)
    assert f'"{typ}"' in lua


def public_of_envoy(manager):
    """(method, path) that need no token, below /v1."""
    rules = http_filter(manager, "tokens")["rules"]
    assert rules[-1] == {"match": {"prefix": "/v1/"}, "requires": {"provider_name": "people"}}
    return {(rule["match"]["headers"][0]["string_match"]["exact"], rule["match"]["path"]) for rule in rules[:-1]}


def test_who_needs_no_token(manager, istio_says):
    people, anyone = istio_says["AuthorizationPolicy", "ingress"]["rules"]
    assert people["from"][0]["source"]["requestPrincipals"] == [f"{chain.ISSUER}/*"]
    assert people["to"] == [{"operation": {"paths": ["/v1/*"]}}]
    strangers, platform = (to["operation"] for to in anyone["to"])
    assert {(method, path) for method in strangers["methods"] for path in strangers["paths"]} == public_of_envoy(manager)
    regex = next(route for route in routes_of_envoy(manager) if route["name"] == "platform")["match"]["safe_regex"]["regex"]
    assert all(re.fullmatch(regex, path) for path in platform["paths"])
    assert regex.count("|") + 1 == len(platform["paths"])


def test_who_needs_no_token_is_what_the_gateway_says(region, hops, manager, istio_says):
    paths = hops["public"].get("/openapi.json").json()["paths"]
    open_to_all = {(method.upper(), path) for path, item in paths.items() for method, operation in item.items()
                   if not operation.get("security")}
    platform = istio_says["AuthorizationPolicy", "ingress"]["rules"][1]["to"][1]["operation"]["paths"]
    assert open_to_all == public_of_envoy(manager) | {("GET", path) for path in platform}


def routes_of_envoy(manager):
    return manager["route_config"]["virtual_hosts"][0]["routes"]


def match_of_envoy(route):
    match = route["match"]
    return match.get("path") or match.get("prefix") or match["safe_regex"]["regex"]


def test_routes_and_their_time_outs(manager, istio_says):
    of_envoy = [(route["name"], match_of_envoy(route), route["route"]["timeout"])
                for route in routes_of_envoy(manager) if "route" in route]
    rules = istio_says["HTTPRoute", "ingress"]["rules"]
    assert of_envoy == [(rule["name"], rule["matches"][0]["path"]["value"], rule["timeouts"]["request"]) for rule in rules]
    for rule in rules:
        [backend] = rule["backendRefs"]
        assert (backend["name"], backend["port"], rule["retry"]) == ("gateway", 4000, {"attempts": 0})
        assert rule["filters"][0]["requestHeaderModifier"]["remove"] == manager["route_config"]["request_headers_to_remove"]
    assert "retry_policy" not in str(routes_of_envoy(manager))


def test_live_routes_are_the_gateways(hops, manager):
    paths = hops["public"].get("/openapi.json").json()["paths"]
    live = next(match_of_envoy(route) for route in routes_of_envoy(manager) if route["name"] == "live")
    assert [path for path in paths if path.endswith("/live")]
    for path in paths:
        assert bool(re.fullmatch(live, path)) == path.endswith("/live"), path
    assert live in (chain.MESH / "haproxy" / "haproxy.cfg").read_text()


def test_time_outs_shrink_along_the_chain(manager):
    """HAProxy waits longer than Envoy, and Envoy longer than the gateway for whatever it asks."""
    cfg = (chain.MESH / "haproxy" / "haproxy.cfg").read_text()
    [outer] = re.findall(r"set-timeout server (\S+) unless .*/live", cfg)
    outer = seconds(outer)
    # Nobody waits longer to hear that a region is dead.
    assert outer < 5
    inner = {route["name"]: seconds(route["route"]["timeout"]) for route in routes_of_envoy(manager) if "route" in route}
    assert inner.pop("live") == 0 and len(set(inner.values())) == 1

    def constant(path, name):
        text = (ROOT / path).read_text()
        return float(re.search(rf"{name}: Duration = Duration::from_secs\((\d+)\)", text)[1])

    for path, name in [("mesh/identity/src/client.rs", "CALL_TIMEOUT"), ("gateway/src/place.rs", "PLACE_TIMEOUT"),
                       ("gateway/src/routes/account.rs", "PASSWORD_TIMEOUT")]:
        assert outer > inner["api"] > constant(path, name), name


def test_who_may_come_in(envoy_says, manager, istio_says):
    tls = envoy_says["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"]["typed_config"]
    assert tls["require_client_certificate"] is True
    [name] = tls["common_tls_context"]["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"]
    [policy] = http_filter(manager, "peers")["rules"]["policies"].values()
    [principal] = policy["principals"]
    assert name["matcher"]["exact"] == principal["header"]["string_match"]["exact"] == f"spiffe://{TRUST}haproxy"
    for rule in istio_says["AuthorizationPolicy", "ingress"]["rules"]:
        assert [one["source"]["principals"] for one in rule["from"]] == [[f"{TRUST}haproxy"]]
    assert istio_says["Gateway", "ingress"]["tls"]["frontend"]["default"]["validation"]["mode"] == "AllowValidOnly"
    assert istio_says["PeerAuthentication", "default"]["mtls"] == {"mode": "STRICT"}


def test_whom_the_ingress_talks_to(envoy_says, istio_says):
    [cluster] = envoy_says["static_resources"]["clusters"]
    tls = cluster["transport_socket"]["typed_config"]
    [name] = tls["common_tls_context"]["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"]
    policy = istio_says["DestinationRule", "gateway"]["trafficPolicy"]
    assert [name["matcher"]["exact"]] == policy["tls"]["subjectAltNames"] and tls["sni"] == policy["tls"]["sni"]
    [threshold] = cluster["circuit_breakers"]["thresholds"]
    pool = policy["connectionPool"]
    assert (threshold["max_connections"], threshold["max_pending_requests"], threshold["max_requests"], threshold["max_retries"]) == (
        pool["tcp"]["maxConnections"], pool["http"]["http1MaxPendingRequests"], pool["http"]["http2MaxRequests"],
        pool["http"]["maxRetries"])
    assert cluster["connect_timeout"] == pool["tcp"]["connectTimeout"]
    ours, theirs = cluster["outlier_detection"], policy["outlierDetection"]
    assert (ours["consecutive_local_origin_failure"], ours["interval"], ours["base_ejection_time"], ours["max_ejection_percent"]) == (
        theirs["consecutiveLocalOriginFailures"], theirs["interval"], theirs["baseEjectionTime"], theirs["maxEjectionPercent"])


def test_the_gateway_keeps_sidecars_off_its_own_tls(istio_says):
    """As long as the ingress shows it a certificate of its own."""
    assert istio_says["DestinationRule", "gateway"]["trafficPolicy"]["tls"]["mode"] == "MUTUAL"
    assert istio_says["DestinationRule", "gateway-for-peers"]["trafficPolicy"]["tls"] == {"mode": "DISABLE"}
    assert "traffic.sidecar.istio.io/excludeInboundPorts" in (ROOT / "helm" / "templates" / "deployments.yaml").read_text()


def test_limits_are_copies(manager, istio_says):
    merged, head, body = (patch["patch"]["value"] for patch in istio_says["EnvoyFilter", "limits"]["configPatches"])
    for name, value in merged["typed_config"].items():
        assert value == manager[name], name
    assert {"max_request_headers_kb", "request_timeout", "local_reply_config"} <= set(merged["typed_config"])
    assert head["typed_config"]["default_source_code"]["inline_string"] == (chain.MESH / "envoy" / "head.lua").read_text()
    assert body == next(one for one in manager["http_filters"] if one["name"] == "body")


def test_limits_are_the_gateways_and_haproxys(manager):
    """What is too large is so everywhere."""
    cfg = (chain.MESH / "haproxy" / "haproxy.cfg").read_text()
    [head_kib] = re.findall(r"HEAD_BYTES_MAX: usize = (\d+) \* 1024", (chain.MESH / "runtime" / "src" / "server" / "strict.rs").read_text())
    [body_kib] = re.findall(r"BODY_LIMIT_BYTES: usize = (\d+) \* 1024", (chain.MESH / "runtime" / "src" / "problem.rs").read_text())
    head, body = int(head_kib) * 1024, int(body_kib) * 1024
    assert f"HEAD_BYTES_MAX = {head}" in (chain.MESH / "envoy" / "head.lua").read_text()
    assert http_filter(manager, "body")["max_request_bytes"] == body
    assert f"req.hdrs,length gt {head} " in cfg and f"req.body_size gt {body} " in cfg
    documents = {file.stem: json.loads(file.read_text()) for file in (chain.MESH / "haproxy" / "problems").glob("*.json")}
    assert (documents["headers_too_large"]["limit_bytes"], documents["body_too_large"]["limit_bytes"]) == (head, body)


def test_nobody_is_let_in_but_by_the_call_graph(istio_says):
    graph = yaml.safe_load((ROOT / "helm" / "files" / "call-graph.yaml").read_text())
    expected = {}
    for caller, callees in graph.items():
        for callee in callees:
            expected.setdefault(callee, set()).add(f"{TRUST}{caller}")
    policies = {name: spec for (kind, name), spec in istio_says.items() if kind == "AuthorizationPolicy"}
    assert policies.pop("default-deny") == {}
    policies.pop("ingress")
    [metrics] = policies.pop("metrics")["rules"]
    assert metrics["to"] == [{"operation": {"ports": ["5000"], "methods": ["GET"], "paths": ["/metrics"]}}]
    found = {}
    for name, spec in policies.items():
        assert spec["selector"]["matchLabels"]["app.kubernetes.io/name"] == name and spec["action"] == "ALLOW"
        [rule] = spec["rules"]
        [source] = rule["from"]
        found[name] = set(source["source"]["principals"])
    assert found == expected
