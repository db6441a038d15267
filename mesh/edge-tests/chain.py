"""The chain in front of a platform that is up: certificates, rendered configurations, HAProxy and Envoy as processes.

Each region is a platform of its own with its own Envoy; one HAProxy stands in front of all.
"""

import base64
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import ssl
import string
import subprocess
import time

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MESH = pathlib.Path(__file__).resolve().parent.parent
TRUST = "spiffe://tiffin.local/ns/tiffin/sa/"
# As the gateway's own settings have them.
ISSUER, AUDIENCE = "https://tiffin.local", "tiffin"
# A start of Envoy or HAProxy takes well below a second; a busy machine gets this long.
READY_S = 30
# Longer than any time-out along the chain.
ANSWER_S = 25


def eventually(what, holds, within_s=READY_S):
    """Asks until it holds; fails with what was waited for."""
    end = time.monotonic() + within_s
    while True:
        with contextlib.suppress(OSError, httpx.TransportError):
            if found := holds():
                return found
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.05)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Authority:
    """An authority that issues what a test asks for, good and bad."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    @classmethod
    def of(cls, data_dir):
        """The development authority of a platform."""
        folder = pathlib.Path(data_dir) / "certs" / "authority"
        certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        return cls(certificate, serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None))

    @classmethod
    def new(cls):
        """One that nobody trusts, under the real one's name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tiffin development CA")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        certificate = builder.not_valid_before(ago(1)).not_valid_after(ago(-1)).add_extension(
            x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
        return cls(certificate, key)

    def issue(self, uris=(), dns=(), cn="test", valid_from_h=1, valid_until_h=-1, is_ca=False,
              usages=("client", "server")):
        """A certificate and its key; hours count back from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
        builder = x509.CertificateBuilder(
            self.certificate.subject, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(ago(valid_from_h)).not_valid_after(ago(valid_until_h))
        names = [x509.UniformResourceIdentifier(uri) for uri in uris] + [x509.DNSName(name) for name in dns]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(x509.BasicConstraints(is_ca, None), True)
        unused = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
                                "encipher_only", "decipher_only"), False)
        builder = builder.add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=is_ca, **unused), True)
        known = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH,
                 "mail": ExtendedKeyUsageOID.EMAIL_PROTECTION}
        builder = builder.add_extension(x509.ExtendedKeyUsage([known[usage] for usage in usages]), False)
        return builder.sign(self.key, hashes.SHA256()), key

    def bundle(self, folder, service):
        """As `Authority::write_bundle` of mesh/identity does it."""
        certificate, key = self.issue([TRUST + service], ["localhost", service], cn=service)
        return write_bundle(folder, certificate, key, self.certificate)


def ago(hours):
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)


def write_bundle(folder, certificate, key, authority):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pem = serialization.Encoding.PEM
    files = {
        "tls.crt": certificate.public_bytes(pem),
        "tls.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        "ca.crt": authority.public_bytes(pem),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return folder


def render(template, **values):
    """The text of a template with its ${...} filled in; a missing one is an error."""
    return string.Template((MESH / template).read_text()).substitute(values)


class Region:
    """A platform that is up."""

    def __init__(self, data_dir):
        self.data_dir = pathlib.Path(data_dir)
        self.authority = Authority.of(self.data_dir)

    def process(self, name):
        return next(process for process in self.processes() if process["name"] == name)

    @property
    def public_ca(self):
        return self.data_dir / "certs" / "gateway" / "ca.crt"

    def port(self, name):
        return int(self.process(name)["address"].rsplit(":", 1)[1])

    def processes(self):
        return json.loads((self.data_dir / "processes.json").read_text())

    def ports(self):
        return json.loads((self.data_dir / "ports.json").read_text())

    def secret(self, name):
        return json.loads((self.data_dir / "secrets.json").read_text())[name]

    def query(self, database, sql):
        """Rows of a master's database, as the database's administrator."""
        host, port = self.process("postgres")["address"].rsplit(":", 1)
        asked = subprocess.run(
            ["psql", "-h", host, "-p", port, "-U", "postgres", "-d", database, "-Atc", sql],
            env=os.environ | {"PGPASSWORD": self.secret("postgres")}, capture_output=True, text=True, check=True)
        return asked.stdout.rstrip("\n").split("\n")

    def logged(self, service, message):
        """What a service has said, as far as it is in its newest log."""
        lines = (self.data_dir / "logs" / f"{service}.log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if message in line and line.startswith("{")]

    def people(self):
        """Of the demonstration, with their passwords."""
        return json.loads((self.data_dir / "credentials.json").read_text())["people"]


class Envoy:
    """The ingress of one region."""

    def __init__(self, region, folder):
        self.folder = pathlib.Path(folder)
        self.certs = region.authority.bundle(self.folder / "certs", "ingress")
        self.port, self.admin_port = free_port(), free_port()
        host, port = region.process("gateway")["address"].rsplit(":", 1)
        self.config = self.folder / "envoy.yaml"
        for lua in (MESH / "envoy").glob("*.lua"):
            shutil.copy(lua, self.folder)
        for name in ("identity.yaml", "authority.yaml"):
            (self.folder / name).write_text(render(f"envoy/{name}", certs=self.certs))
        self.config.write_text(render(
            "envoy/envoy.yaml", listen_port=self.port, admin_port=self.admin_port, gateway_address=host,
            gateway_port=port, folder=self.folder, issuer=ISSUER, audience=AUDIENCE))
        self.process = None

    def command(self, *more):
        import envoy
        binary = pathlib.Path(envoy.__file__).parent / "_bin" / "envoy"
        return [str(binary), "--config-path", str(self.config), "--concurrency", "1", "--log-level", "warning",
                "--disable-hot-restart", *more]

    def start(self):
        log = (self.folder / "envoy.log").open("a")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        eventually("Envoy is ready", lambda: alive(self) and self.admin("/ready") == 200)
        return self

    def admin(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status

    def stop(self):
        end(self.process)


class Haproxy:
    """The geo door, in front of any number of regions."""

    def __init__(self, ingresses, folder, default, countries=(), regions=()):
        """`ingresses`: region → port and authority of its ingress; `countries`: (network, country); `regions`:
        (country, region). Shows the first authority's certificate to everyone."""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        servers = []
        for region, (port, authority) in ingresses.items():
            certs = authority.bundle(self.folder / region, "haproxy")
            servers.append(f"backend region-{region} from region\n    server ingress 127.0.0.1:{port} "
                           f"ca-file {certs}/ca.crt crt {certs}/tls.crt\n"
                           '    server nobody unix@"${TIFFIN_EDGE_NOBODY}" backup no-check no-ssl\n')
        self.certs = self.folder / next(iter(ingresses))
        self.ca = self.certs / "ca.crt"
        maps = {"countries.map": countries, "regions.map": regions, "regions.cfg": ()}
        for name, rows in maps.items():
            (self.folder / name).write_text("".join(f"{key} {value}\n" for key, value in rows))
        (self.folder / "regions.cfg").write_text("\n".join(servers))
        self.environment = os.environ | {
            "TIFFIN_EDGE_LISTEN": f"127.0.0.1:{self.port}",
            "TIFFIN_EDGE_ADMIN": str(self.folder / "admin.sock"),
            "TIFFIN_EDGE_PUBLIC_CERT": str(self.certs / "tls.crt"),
            "TIFFIN_EDGE_MESH_CERT": str(self.certs / "tls.crt"),
            "TIFFIN_EDGE_MESH_CA": str(self.certs / "ca.crt"),
            "TIFFIN_EDGE_COUNTRIES": str(self.folder / "countries.map"),
            "TIFFIN_EDGE_REGIONS": str(self.folder / "regions.map"),
            "TIFFIN_EDGE_DEFAULT_REGION": default,
            "TIFFIN_EDGE_COOKIE_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "TIFFIN_EDGE_NOBODY": str(self.folder / "nobody.sock"),
            "TIFFIN_EDGE_PROBLEMS": str(MESH / "haproxy" / "problems"),
        }
        self.process = None

    def command(self, *more):
        return ["haproxy", "-f", str(MESH / "haproxy" / "haproxy.cfg"), "-f", str(self.folder / "regions.cfg"), *more]

    def start(self):
        log = (self.folder / "haproxy.log").open("a")
        self.process = subprocess.Popen(self.command("-db"), env=self.environment, stdout=log, stderr=log)
        eventually("HAProxy listens", lambda: alive(self) and not socket.create_connection(("127.0.0.1", self.port)).close())
        return self

    def stop(self):
        end(self.process)


def alive(server):
    logs = [log.read_text()[-2000:] for log in server.folder.glob("*.log")]
    assert server.process.poll() is None, logs
    return True


def end(process):
    if process and process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def client_tls(ca, certs=None, alpn="http/1.1"):
    """A client's side of TLS: trusts one authority, shows the bundle in `certs` if there is one."""
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    context.set_alpn_protocols([alpn])
    if certs:
        context.load_cert_chain(pathlib.Path(certs) / "tls.crt", pathlib.Path(certs) / "tls.key")
    return context


def connect(port, context, timeout_s=ANSWER_S):
    plain = socket.create_connection(("127.0.0.1", port), timeout_s)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


def problem(headers, body):
    """The name of the problem that an answer is; None if it is none."""
    if headers.get("content-type") != "application/problem+json":
        return None
    return json.loads(body)["type"].removeprefix("https://tiffin.dev/problems/")


class Client:
    """Asks one hop, over a new connection each time."""

    def __init__(self, port, ca, certs=None, http2=False, address="127.0.0.1"):
        self.port, self.tls = port, client_tls(ca, certs)
        self.base = f"https://127.0.0.1:{port}"
        tls = client_tls(ca, certs, "h2" if http2 else "http/1.1")
        self.fresh = lambda: httpx.Client(base_url=self.base, timeout=ANSWER_S, transport=httpx.HTTPTransport(
            verify=tls, http1=not http2, http2=http2, local_address=address))

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def ask(self, method, path, body=None, headers=None):
        headers = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        kind = "json" if isinstance(body, (dict, list)) else "content"
        with self.fresh() as client:
            answer = client.request(method, path, headers=headers, **({kind: body} if body is not None else {}))
        answer.problem = problem(answer.headers, answer.content)
        return answer
