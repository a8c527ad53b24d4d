"""The tenant judged by itself and by others before it judges anybody: the published vector, PyJWT, Microsoft's msal, a client of our own."""

import base64
import hashlib
import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives import serialization

import tenant_keys
from tenant import BOT_SCOPE, CLIENT, GRAPH_SCOPE, PUBLISHER, SECRET, TENANT, Tenant, stamp, wrong_with_answer
from tenant_run import fixture
from tenant_send import ALICE, BOB, Service, person
from tenant_wire import post


class Listener:
    """A recorder that only answers validation handshakes and notes the rest."""

    def __init__(self):
        listener = self
        self.got = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                token = query.get("validationToken")
                listener.got.append((self.path, dict(self.headers), body))
                self.send_response(200 if token else 202)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(token[0].encode() if token else b"")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def the_published_vector_is_read():
    vector = fixture("vector-encryptedcontent")
    key = serialization.load_pem_private_key(vector["privateKeyPkcs8Pem"].encode(), None)
    assert tenant_keys.decrypt(key, vector["encryptedContent"]).decode() == vector["expectedPlaintextUtf8"]
    certificate = tenant_keys.Certificate(vector["certificateDerBase64"])
    assert certificate.thumbprint == vector["certificateSha1Thumbprint"]
    again = tenant_keys.encrypt(certificate.key, "x", certificate.thumbprint, {"id": "ü"})
    assert json.loads(tenant_keys.decrypt(key, again)) == {"id": "ü"}
    spoilt = dict(again, data=base64.b64encode(b"\0" * 32).decode())
    try:
        tenant_keys.decrypt(key, spoilt)
    except ValueError:
        return
    raise AssertionError("spoilt data was accepted")


def tokens_pass_an_independent_check():
    tenant = Tenant()
    try:
        service = Service(tenant, "http://127.0.0.1:1")
        for name, token, issuer in (("calls", service.call_token(), "https://graph.microsoft.com"), ("bot", service.bot_token(), "https://api.botframework.com"),
                                    ("notifications", service.validation_token(), f"https://sts.windows.net/{TENANT}/")):
            client = jwt.PyJWKClient(f"{tenant.url['keys']}/{name}/keys")
            claims = jwt.decode(token, client.get_signing_key_from_jwt(token).key, algorithms=["RS256"], audience=CLIENT, issuer=issuer)
            assert claims["exp"] > time.time()
        assert claims["appid"] == PUBLISHER
    finally:
        tenant.close()


def form(tenant, **fields):
    raw = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET, "scope": GRAPH_SCOPE, **fields}).encode()
    return post(f"{tenant.url['login']}/{TENANT}/oauth2/v2.0/token", raw, {"Content-Type": "application/x-www-form-urlencoded"})


def sign_in_takes_the_secret_and_the_assertion():
    tenant = Tenant()
    try:
        assert form(tenant).doc["expires_in"] == 3599
        assert form(tenant, client_secret="x").status == 401
        assert form(tenant, scope="x").status == 400
        endpoint = f"{tenant.url['login']}/{TENANT}/oauth2/v2.0/token"
        der = tenant_keys.client_certificate()[2]
        now = int(time.time())
        claims = {"aud": endpoint, "iss": CLIENT, "sub": CLIENT, "jti": "1", "nbf": now, "exp": now + 300}
        thumbprint = tenant_keys.b64url(hashlib.sha256(der).digest())
        assertion = jwt.encode(claims, tenant_keys.rsa_key("client"), "PS256", {"x5t#S256": thumbprint})
        fields = {"client_secret": "", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": assertion}
        assert form(tenant, **fields).status == 200
        assert form(tenant, **fields).status == 401, "an assertion is used once"
    finally:
        tenant.close()


def subscriptions_lists_and_notifications_fit_together():
    tenant, listener = Tenant(), Listener()
    try:
        service = Service(tenant, listener.url)
        token = form(tenant).doc["access_token"]
        ask = lambda method, path, body=b"", **headers: post(tenant.url["graph"] + path, body, {"Authorization": f"Bearer {token}", **headers}, method=method)
        chat = tenant.chats.add("19:x@thread.v2", members=[ALICE, BOB])
        for n in range(7):
            tenant.chats.say(chat, ALICE, f"text {n}")
        tenant.chats.system(chat, {"@odata.type": "#microsoft.graph.chatRenamedEventMessageDetail"})
        vector = fixture("vector-encryptedcontent")
        body = {"changeType": "created", "notificationUrl": listener.url + "/n", "lifecycleNotificationUrl": listener.url + "/l?a=1", "resource": "/chats/19:x@thread.v2/messages",
                "includeResourceData": True, "encryptionCertificate": vector["certificateDerBase64"], "encryptionCertificateId": "c1", "clientState": "s",
                "expirationDateTime": stamp(time.time() + 259200)}
        made = ask("POST", "/v1.0/subscriptions", body)
        assert made.status == 201 and "encryptionCertificate" not in made.doc, made
        assert len(tenant.handshakes) == 2
        assert ask("POST", "/v1.0/subscriptions", {**body, "lifecycleNotificationUrl": None}).status == 400
        assert ask("PATCH", f"/v1.0/subscriptions/{made.doc['id']}", {"expirationDateTime": stamp(time.time() + 4000)}).status == 200
        tenant.ledger.clear()
        assert service.tell(chat, next(iter(chat.messages.values())))[0].status == 202
        item = json.loads(listener.got[-1][2])["value"][0]
        key = serialization.load_pem_private_key(vector["privateKeyPkcs8Pem"].encode(), None)
        assert json.loads(tenant_keys.decrypt(key, item["encryptedContent"]))["body"]["content"] == "text 0"
        tenant.chats.page = 3
        path, got, kinds = "/v1.0/chats/19%3Ax%40thread.v2/messages?$top=50&$orderby=lastModifiedDateTime%20desc", [], set()
        while path:
            page = ask("GET", path).doc
            got += [m["body"]["content"] for m in page["value"]]
            kinds |= {m["messageType"] for m in page["value"]}
            path = page.get("@odata.nextLink", "").removeprefix(tenant.url["graph"])
        assert got == ["<systemEventMessage/>"] + [f"text {n}" for n in range(6, -1, -1)] and kinds == {"message", "unknownFutureValue"}, (got, kinds)
        assert ask("GET", "/v1.0/chats/19%3Ax%40thread.v2/messages?$orderby=lastModifiedDateTime%20asc").status == 400
        assert post(tenant.url["graph"] + "/v1.0/subscriptions", b"", method="GET").status == 401
    finally:
        tenant.close()


def the_documents_own_answers_pass():
    for name in ("request-answer-apphosted-calloptions", "request-answer-apphosted", "request-answer-apphosted-capacity", "request-answer-servicehosted-prefetch"):
        body = fixture(name)
        wrong = wrong_with_answer({**body, "callbackUri": "https://x"})
        assert wrong is None, (name, wrong)
    assert wrong_with_answer({"callbackUri": "https://x", "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"}, "acceptedModalities": [], "callOptions": {}})


def unknown_members(thing, path, found):
    """Where the SDK's model of an object keeps what Graph does not have."""
    if isinstance(thing, list):
        for one in thing:
            unknown_members(one, path, found)
    elif hasattr(thing, "additional_data"):
        found.update(f"{type(thing).__name__}.{name}" for name in thing.additional_data)
        for name, value in thing.backing_store.enumerate_():
            unknown_members(value, f"{path}.{name}", found)


def the_graph_sdk_knows_every_member():
    """But those that the description says stand on the wire and not in the metadata."""
    from kiota_serialization_json.json_parse_node_factory import JsonParseNodeFactory
    from msgraph.generated.models.call import Call
    from msgraph.generated.models.chat import Chat
    from msgraph.generated.models.chat_message import ChatMessage
    from msgraph.generated.models.participant import Participant
    tenant = Tenant()
    try:
        chat = tenant.chats.add("19:x@thread.v2", members=[ALICE])
        key = tenant.chats.say(chat, ALICE, "x")["id"]
        call = Service(tenant, "http://127.0.0.1:1").call(thread=chat.id)
        call.state = "established"
        docs = [(ChatMessage, tenant.chats.react(chat, key, BOB, "like")), (ChatMessage, tenant.chats.delete(chat, key)), (Chat, tenant.chats.shown(chat, True)), (Call, call.shown()), (Participant, person("p", ALICE))]
        found = set()
        for model, doc in docs:
            node = JsonParseNodeFactory().get_root_parse_node("application/json", json.dumps(doc).encode())
            unknown_members(node.get_object_value(model), "", found)
        allowed = {"ChatMessageFromIdentitySet.conversation", "TeamworkUserIdentity.tenantId", "Call.@odata.id", "Participant.meetingRole", "Participant.publishedStates", "ParticipantInfo.platformId", "Identity.tenantId"}
        assert found <= allowed, found - allowed
    finally:
        tenant.close()


def msal_signs_in():
    import msal
    tenant = Tenant()
    try:
        class Plain:
            """msal insists on https; its requests go to the tenant all the same."""

            def get(self, url, **_):
                class Got:
                    status_code, headers = 200, {}
                    text = json.dumps({"token_endpoint": f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token", "issuer": f"https://login.microsoftonline.com/{TENANT}/v2.0",
                                       "authorization_endpoint": f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/authorize", "device_authorization_endpoint": "https://x/d"})

                    def raise_for_status(self):
                        pass
                return Got()

            def post(self, url, data=None, headers=None, **_):
                answer = post(url.replace("https://login.microsoftonline.com", tenant.url["login"]), urllib.parse.urlencode(data).encode(), {"Content-Type": "application/x-www-form-urlencoded"})

                class Got:
                    status_code, headers, text = answer.status, dict(answer.headers), answer.raw.decode()

                    def raise_for_status(self):
                        pass
                return Got()

            def close(self):
                pass

        app = msal.ConfidentialClientApplication(CLIENT, client_credential=SECRET, authority=f"https://login.microsoftonline.com/{TENANT}", http_client=Plain(), instance_discovery=False)
        got = app.acquire_token_for_client([GRAPH_SCOPE])
        assert "access_token" in got, got
        assert app.acquire_token_for_client([BOT_SCOPE])["access_token"] != got["access_token"]
    finally:
        tenant.close()


if __name__ == "__main__":
    for check in (the_published_vector_is_read, tokens_pass_an_independent_check, sign_in_takes_the_secret_and_the_assertion, subscriptions_lists_and_notifications_fit_together,
                  the_documents_own_answers_pass, the_graph_sdk_knows_every_member, msal_signs_in):
        check()
        print("ok  ", check.__name__)
