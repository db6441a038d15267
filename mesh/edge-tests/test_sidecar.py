"""A gateway whose TLS is a sidecar's: Envoy, set as Istio sets its own, for what comes in and for what goes out."""

import json
import pathlib
import socket
import subprocess

import httpx
import pytest

import chain
import conftest

TYPE = "type.googleapis.com/envoy.extensions."
XFCC = "x-forwarded-client-cert"
# What the tests below ask for is theirs.
CALLEES = ("user-master", "user-info", "order-info")
# Whoever may bring people's requests, and a peer who may not.
FRIEND, OTHER = "ingress", "order-info"


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": int(port)}}


def tls(kind, certs, **more):
    context = {"@type": f"{TYPE}transport_sockets.tls.v3.{kind}", **more}
    names = {"certificate_chain": {"filename": f"{certs}/tls.crt"}, "private_key": {"filename": f"{certs}/tls.key"}}
    # A client's default ends with 1.2.
    versions = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    context["common_tls_context"] |= {"tls_certificates": [names], "tls_params": versions}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def validation(certs, service=None):
    context = {"trusted_ca": {"filename": f"{certs}/ca.crt"}}
    if service:
        context["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": {"exact": chain.TRUST + service}}]
    return {"validation_context": context}


def listener(name, port, **manager):
    routes = {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "0s"}}]}]}
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPE}filters.http.router.v3.Router"}}
    config = {"@type": f"{TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": name,
              "route_config": routes, "http_filters": [router], **manager}
    return {"name": name, "address": address(port), "filter_chains": [
        {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": config}]}]}


def cluster(name, port, protocol, **more):
    options = {"@type": f"{TYPE}upstreams.http.v3.HttpProtocolOptions", **protocol}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}, **more}


class Sidecar:
    """Envoy beside a service: with its certificate in front of `port`, and on the way to whom it calls."""

    def __init__(self, region, folder, service, port):
        self.folder = folder
        folder.mkdir()
        certs = region.authority.bundle(folder / "certs", service)
        self.port = chain.free_port()
        # As istiod does for all that comes in (listener.go, buildSidecarInboundHTTPOpts).
        inbound = listener("app", self.port, forward_client_cert_details="APPEND_FORWARD",
                           set_current_client_cert_details={"subject": True, "uri": True, "dns": True})
        inbound["filter_chains"][0]["transport_socket"] = tls(
            "DownstreamTlsContext", certs, require_client_certificate=True,
            common_tls_context={"alpn_protocols": ["h2", "http/1.1"], **validation(certs)})
        both = {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
        listeners, clusters, self.upstreams = [inbound], [cluster("app", port, both)], {}
        for callee in CALLEES:
            self.upstreams[callee] = chain.free_port()
            listeners.append(listener(callee, self.upstreams[callee]))
            clusters.append(cluster(
                callee, region.port(callee), {"explicit_http_config": {"http2_protocol_options": {}}},
                transport_socket=tls("UpstreamTlsContext", certs, common_tls_context={
                    "alpn_protocols": ["h2"], **validation(certs, callee)})))
        config = {"node": {"id": service, "cluster": service},
                  "static_resources": {"listeners": listeners, "clusters": clusters}}
        self.config = folder / "envoy.yaml"
        self.config.write_text(json.dumps(config))
        self.process = None

    def start(self):
        log = (self.folder / "envoy.log").open("a")
        self.process = subprocess.Popen(chain.Envoy.command(self), stdout=log, stderr=log)
        chain.eventually("Envoy listens", lambda: chain.alive(self) and opens(self.port))
        return self


def opens(port):
    return not socket.create_connection(("127.0.0.1", port)).close()


@pytest.fixture(scope="module")
def sidecar(region, scratch):
    """A second gateway of the platform, behind one."""
    own, admin = chain.free_port(), chain.free_port()
    beside = Sidecar(region, scratch / "sidecar", "gateway", own).start()
    environ = pathlib.Path(f"/proc/{region.process('gateway')['pid']}/environ").read_bytes().decode()
    given = dict(pair.split("=", 1) for pair in environ.split("\0") if pair.startswith("TIFFIN_"))
    for gone in ("TIFFIN_TLS_DIR", "TIFFIN_PUBLIC_LISTEN", "TIFFIN_PUBLIC_TLS_DIR"):
        given.pop(gone, None)
    given |= {"TIFFIN_TLS": "sidecar", "TIFFIN_MESH_LISTEN": f"127.0.0.1:{own}", "TIFFIN_ADMIN_LISTEN": f"127.0.0.1:{admin}",
              "TIFFIN_UPSTREAMS": ",".join(f"{name}=127.0.0.1:{port}" for name, port in beside.upstreams.items())}
    log = (beside.folder / "gateway.log").open("w")
    process = subprocess.Popen([conftest.binary().parent / "gateway"], env=given, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        # It has asked user-master for the signing keys then, through the sidecar.
        chain.eventually("the gateway is ready", lambda: httpx.get(f"http://127.0.0.1:{admin}/readyz").status_code == 200)
        beside.app = own
        yield beside
    finally:
        chain.end(process)
        chain.end(beside.process)


@pytest.fixture(scope="module", params=["http1", "http2"])
def ask(request, region, sidecar, tmp_path_factory):
    """Asks as a peer, with what it says about itself besides."""

    def ask(service, path="/livez", *said, method="GET", body=None, headers=(), uris=None):
        folder = tmp_path_factory.mktemp(service)
        certificate, key = region.authority.issue([chain.TRUST + service] if uris is None else uris, ["localhost"], cn=service)
        certs = chain.write_bundle(folder, certificate, key, region.authority.certificate)
        client = chain.Client(sidecar.port, region.public_ca, certs, http2=request.param == "http2")
        with client.fresh() as session:
            answer = session.request(method, path, headers=[*headers, *((XFCC, line) for line in said)], json=body)
        answer.problem = chain.problem(answer.headers, answer.content)
        return answer

    return ask


def token(region, ask, role):
    person = next(person for person in region.people() if person["role"] == role)
    login = {"email": person["email"], "password": person["password"]}
    answer = ask(FRIEND, "/v1/sessions", method="POST", body=login)
    assert answer.status_code == 200, answer.text
    return [("authorization", f"Bearer {answer.json()['access_token']}")]


def element(service):
    return f'By={chain.TRUST}gateway;Hash={"0" * 64};Subject="";URI={chain.TRUST}{service}'


def test_a_peer_comes_in_and_the_gateway_gets_out(region, ask):
    headers = token(region, ask, "customer")
    answer = ask(FRIEND, "/v1/me", headers=headers)
    assert answer.status_code == 200, answer.text


def test_another_peer_is_refused(ask):
    answer = ask(OTHER)
    assert (answer.status_code, answer.problem) == (403, "peer_not_allowed"), answer.text


@pytest.mark.parametrize("said", [
    [element(FRIEND)],
    [element(FRIEND), element(FRIEND)],
    [element(FRIEND) + ';x="'],
    [element(FRIEND) + ';x="\\'],
    [element(FRIEND) + ","],
    ['"'],
], ids=["the same", "two lines", "an open quote", "an open quote and an escape", "an empty element", "a quote"])
def test_what_a_peer_says_of_itself_changes_nothing(ask, said):
    answer = ask(OTHER, "/livez", *said)
    assert (answer.status_code, answer.problem) == (403, "peer_not_allowed"), answer.text


def test_what_came_with_the_request_does_not_count_against_it(ask):
    """As when the hop before has a sidecar of its own."""
    assert ask(FRIEND, "/livez", element(OTHER)).status_code == 200


@pytest.mark.parametrize("uris", [[], [chain.TRUST + FRIEND, chain.TRUST + OTHER], [chain.TRUST + OTHER, chain.TRUST + FRIEND],
                                  ["spiffe://evil.example/ns/tiffin/sa/ingress"]], ids=["none", "two", "two, turned", "foreign"])
def test_no_or_several_or_foreign_identities_are_nobodys(ask, uris):
    answer = ask(FRIEND, uris=uris)
    assert (answer.status_code, answer.problem) == (403, "peer_not_allowed"), answer.text


def test_no_certificate_does_not_come_in(region, sidecar):
    with pytest.raises((httpx.TransportError, OSError)):
        chain.Client(sidecar.port, region.public_ca).get("/livez")


def test_past_the_sidecar_nobody_is_anybody(sidecar):
    answer = httpx.get(f"http://127.0.0.1:{sidecar.app}/livez")
    assert answer.status_code == 403, answer.text


def test_a_live_stream_goes_through_both(region, ask, sidecar, tmp_path):
    headers = token(region, ask, "courier")
    certs = region.authority.bundle(tmp_path, FRIEND)
    client = chain.Client(sidecar.port, region.public_ca, certs, http2=True)
    with client.fresh() as session, session.stream("GET", "/v1/couriers/me/live", headers=headers) as stream:
        assert stream.status_code == 200
        assert "event: snapshot" in next(part for part in stream.iter_text() if part)
