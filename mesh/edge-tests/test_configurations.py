"""The configurations are ones: for HAProxy and Envoy themselves, and by Istio's schemas, without a field they don't know."""

import copy
import subprocess

import jsonschema
import pytest
import yaml

import chain

CRDS = chain.MESH.parent.parent / "shared" / "data" / "istio-crds.yaml"
# Kubernetes' own and the Gateway API's have no schema in that file.
ELSEWHERE = {"Gateway", "HTTPRoute"}


def test_haproxy_takes_its_configuration(haproxy):
    said = subprocess.run(haproxy.command("-c"), env=haproxy.environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "WARNING" not in said.stderr and "ALERT" not in said.stderr, said.stderr


def test_envoy_takes_its_configuration(envoy):
    said = subprocess.run(envoy.command("--mode", "validate"), capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "eprecated" not in said.stderr, said.stderr


def resources():
    for file in sorted((chain.MESH / "istio").glob("*.yaml")):
        for resource in yaml.safe_load_all(file.read_text()):
            yield pytest.param(resource, id=f"{resource['kind']} {resource['metadata']['name']}")


RESOURCES = list(resources())


def strict(schema):
    """The schema, taking no field that it does not name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    names = schema.get("properties")
    if isinstance(names, dict) and schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


@pytest.fixture(scope="module")
def schemas():
    if not CRDS.exists():
        pytest.skip(f"Istio's schemas are not at {CRDS}")
    found = {}
    for crd in yaml.safe_load_all(CRDS.read_text()):
        for version in crd["spec"]["versions"] if crd else ():
            schema = strict(copy.deepcopy(version["schema"]["openAPIV3Schema"]))
            for known in ("apiVersion", "kind", "metadata"):
                schema["properties"][known] = True
            found[f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]] = schema
    return found


@pytest.mark.parametrize("resource", RESOURCES)
def test_istio_takes_its_resources(schemas, resource):
    if resource["kind"] in ELSEWHERE:
        assert resource["apiVersion"] == "gateway.networking.k8s.io/v1"
        return
    jsonschema.Draft202012Validator(schemas[resource["apiVersion"], resource["kind"]]).validate(resource)


def test_a_field_that_nobody_knows_is_noticed(schemas):
    resource = {"spec": {"mtls": {"mode": "STRICT", "modus": "STRICT"}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(resource, schemas["security.istio.io/v1", "PeerAuthentication"])


def test_every_resource_is_of_our_namespace():
    assert {case.values[0]["metadata"]["namespace"] for case in RESOURCES} == {"tiffin"}
