"""Gets tokens of the simulated login service with Microsoft's MSAL, by secret and by certificate. MSAL insists on https, so a
little TLS proxy of this script's own stands in front. Arguments: JSON with base, tenant, client, secret, key, certificate (PEM)."""
import datetime
import hashlib
import http.server
import ipaddress
import json
import os
import ssl
import sys
import tempfile
import threading
import urllib.request

import msal
import msal.authority
import msal.token_cache
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

a = json.loads(sys.argv[1])
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"


class Proxy(http.server.BaseHTTPRequestHandler):
    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        request = urllib.request.Request(a["base"] + self.path, data=body, method=self.command)
        if body:
            request.add_header("Content-Type", self.headers["Content-Type"])
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as e:
            answer = e
        data = answer.read()
        self.send_response(answer.status if hasattr(answer, "status") else answer.code)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = handle_one

    def log_message(self, *_):
        pass


key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
    .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    .add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, hashes.SHA256()))
folder = tempfile.mkdtemp()
pem = os.path.join(folder, "tls.pem")
with open(pem, "wb") as f:
    f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    f.write(certificate.public_bytes(serialization.Encoding.PEM))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(pem)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
authority = f"https://127.0.0.1:{server.server_port}/{a['tenant']}"


# The discovery document names the service's own token endpoint, which is http here; its assertions must bear that very
# address, so it is not rewritten: only msal's wish for https is.
canonicalize = msal.authority.canonicalize
msal.authority.canonicalize = lambda url: canonicalize(url.replace("http://127.0.0.1", "https://127.0.0.1", 1))
msal.token_cache.canonicalize = msal.authority.canonicalize

session = requests.Session()
session.trust_env = False  # a bundle named in the environment would win over the certificate below
session.verify = pem


def get(credential, scope="https://graph.microsoft.com/.default"):
    application = msal.ConfidentialClientApplication(
        a["client"], authority=authority, client_credential=credential, instance_discovery=False, http_client=session)
    return application.acquire_token_for_client([scope])


answer = get(a["secret"])
assert answer.get("access_token") and answer["token_type"] == "Bearer", answer
assert get(a["secret"], "https://api.botframework.com/.default").get("access_token")
wrong = get("wrong")
assert wrong["error"] == "invalid_client" and wrong["error_codes"] == [7000215], wrong
der = ssl.PEM_cert_to_DER_cert(a["certificate"])
answer = get({"private_key": a["key"], "thumbprint": hashlib.sha1(der).hexdigest(), "public_certificate": a["certificate"]})
assert answer.get("access_token"), answer
print("tokens by secret and certificate")
