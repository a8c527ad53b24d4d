"""A small Microsoft tenant of its own, written from the protocol description and the payload samples.

It shares nothing with the product and its simulation: another language, another author's reading of the same pages. Five
origins: login (tokens), keys (the three sets of signing keys), graph, connector (Bot Framework) and a stranger that nobody
trusts and that only notes what it receives. Needs PyJWT and cryptography.
"""

import time
import uuid
from urllib.parse import parse_qs, quote_plus

import tenant_chats
from counterpart import Counterpart
from tenant_keys import Certificate, KeySet, life, wrong_with_assertion
from tenant_wire import Reply, handler_class, match, post

TENANT = "1fdd12d0-4620-44ed-baec-459b611f84b2"
OTHER_TENANT = "932899f8-2ea1-4604-8413-27bd2892079f"
CLIENT = "0efc74f7-41c3-47a4-8775-7259bfef4241"
SECRET = 'p&a+s%20s ~\\ü"='
PUBLISHER = "0bf30f3b-4a52-48df-9a82-234910c4a086"
GRAPH_SCOPE, BOT_SCOPE = "https://graph.microsoft.com/.default", "https://api.botframework.com/.default"
ROLES = ("Calls.JoinGroupCall.All", "Calls.AccessMedia.All", "Chat.Read.All", "ChannelMessage.Read.All", "OnlineMeetings.Read.All", "ChatMember.Read.All",
         "Chat.ReadBasic.All", "ChannelMember.Read.All", "Calls.Initiate.All", "Calls.InitiateGroupCall.All", "Calls.JoinGroupCallAsGuest.All")
ADDRESSES = {"login": "127.0.0.1", "keys": "127.0.0.1", "graph": "127.0.0.2", "connector": "127.0.0.3", "stranger": "127.0.0.4"}


def error(status, code, headers=None, message="An error occurred."):
    return Reply(status, {"error": {"code": code, "message": message, "innerError": {"date": "2026-11-27T12:00:00", "request-id": str(uuid.uuid4())}}}, headers)


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".0000000Z"


def seconds_of(text):
    import datetime
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Subscription:
    def __init__(self, body):
        self.id, self.body, self.removed = str(uuid.uuid4()), dict(body), False
        text = body.get("encryptionCertificate")
        self.certificate = Certificate(text) if text else None

    def shown(self):
        hidden = ("encryptionCertificate",)
        return {"id": self.id, "applicationId": CLIENT, "creatorId": CLIENT, **{k: v for k, v in self.body.items() if k not in hidden}}


class Tenant(Counterpart):
    """`granted_seconds` limits the life of subscriptions below what is asked for; `expires` is the life of tokens, `idle` that
    of connections without a request."""

    def __init__(self, expires=3599, granted_seconds=None, tls=None, roles=ROLES, idle=None):
        super().__init__()
        self.idle, self.subscription_page, self.subscribing = idle, None, None
        self.faults, self.tokens, self.used_jti, self.ledger = [], {}, set(), []
        self.expires, self.granted_seconds, self.roles, self.tls = expires, granted_seconds, roles, tls
        self.secret_right, self.before, self.conflict, self.handshakes = True, None, False, []
        self.validation_token = lambda: f"Validation: Testing client application reachability for subscription Request-Id: {uuid.uuid4()} a+b %2B <i>&amp;ü</i>"
        self.subscriptions, self.calls, self.decide, self.status_answer = {}, {}, None, "completed"
        self.posted = []
        self.chats = tenant_chats.Chats(self)
        self.sets = {"calls": KeySet("calls"), "notifications": KeySet("notifications"), "bot": KeySet("bot", ["msteams"])}
        self.login_keys = KeySet("login")
        self.listen(ADDRESSES, handler_class, tls)

    def is_at(self, seen, place):
        return match(place, seen.path)

    def fault(self, method, path, *replies):
        """The next matching requests are answered so; not carried out."""
        with self.cv:
            self.faults += [(method, path, reply) for reply in replies]

    # ---- what arrives

    def handle(self, seen):
        with self.cv:
            self.seen.append(seen)
            self.cv.notify_all()
        reply = self.before(seen) if self.before else None
        if reply is None:
            reply = self.faulty(seen)
        if reply is None:
            reply = getattr(self, "at_" + seen.origin)(seen)
        if reply.spoil == "hang":
            time.sleep(reply.seconds)
        return reply

    def answered(self, seen):
        with self.cv:
            seen.answered_at = time.monotonic()
            self.cv.notify_all()

    def faulty(self, seen):
        with self.cv:
            for i, (method, path, reply) in enumerate(self.faults):
                if seen.method == method and match(path, seen.path):
                    del self.faults[i]
                    return reply
        return None

    def at_stranger(self, seen):
        return Reply(200, {"value": []})

    def at_keys(self, seen):
        for name, keys in self.sets.items():
            if seen.path == f"/{name}/.well-known/openid-configuration":
                if keys.down:
                    return Reply(503)
                return Reply(200, {"issuer": "https://example.invalid/{tenantid}", "jwks_uri": f"{self.url['keys']}/{name}/keys", "authorization_endpoint": f"{self.url['keys']}/a",
                                   "id_token_signing_alg_values_supported": ["RS256"], "response_types_supported": ["id_token"], "subject_types_supported": ["pairwise"]})
            if seen.path == f"/{name}/keys":
                keys.fetched += 1
                return Reply(503) if keys.down else Reply(200, keys.document())
        return Reply(404)

    def at_login(self, seen):
        found = match(r"/([^/]+)/oauth2/v2\.0/token", seen.path)
        form = {k: v[0] for k, v in parse_qs(seen.raw.decode("ascii", "replace"), keep_blank_values=True, encoding="utf-8").items()}
        if not found or seen.method != "POST":
            return Reply(404)
        refused = lambda status, code, number: Reply(status, {"error": code, "error_description": f"AADSTS{number}: refused.", "error_codes": [number],
                                                              "trace_id": str(uuid.uuid4()), "correlation_id": str(uuid.uuid4()), "timestamp": "2026-11-27 12:00:00Z"})
        if form.get("grant_type") != "client_credentials":
            return refused(400, "unsupported_grant_type", 70003)
        if form.get("client_id") != CLIENT:
            return refused(400, "unauthorized_client", 700016)
        if "client_assertion" in form:
            if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
                return refused(400, "invalid_request", 900144)
            wrong = wrong_with_assertion(form["client_assertion"], self.url["login"] + seen.path, CLIENT, self.used_jti)
            if wrong:
                self.ledger.append(f"assertion: {wrong}")
                return refused(401, "invalid_client", 700027)
        elif form.get("client_secret") != SECRET or not self.secret_right:
            return refused(401, "invalid_client", 7000215)
        scope = form.get("scope")
        if scope not in (GRAPH_SCOPE, BOT_SCOPE):
            return refused(400, "invalid_scope", 70011)
        if found.group(1) == "common":
            return refused(400, "invalid_request", 9002313)
        token = self.login_keys.sign({"aud": scope.removesuffix("/.default"), "iss": f"https://sts.windows.net/{found.group(1)}/", "tid": found.group(1), "appid": CLIENT,
                                      "roles": list(self.roles), "jti": str(uuid.uuid4()), **life(self.expires / 60)})
        with self.cv:
            self.tokens[token] = (scope, found.group(1), time.monotonic() + self.expires)
        return Reply(200, {"token_type": "Bearer", "expires_in": self.expires if scope == GRAPH_SCOPE else str(self.expires), "ext_expires_in": self.expires, "access_token": token})

    def token_right(self, seen, scope):
        held = self.tokens.get(seen.bearer)
        return held is not None and held[0] == scope and held[2] > time.monotonic()

    def revoke(self):
        with self.cv:
            self.tokens.clear()

    def at_connector(self, seen):
        if not self.token_right(seen, BOT_SCOPE):
            return Reply(401, {"error": {"code": "Unauthorized", "message": "Authorization has been denied for this request."}})
        found = match(r"/emea/v3/conversations/(.+?)/activities(?:/.*)?", seen.path)
        if not found or seen.method != "POST" or not isinstance(seen.body, dict) or "type" not in seen.body:
            return Reply(404, {"error": {"code": "NotFound", "message": "no such thing"}})
        with self.cv:
            self.posted.append((found.group(1), seen.body))
        return Reply(201, {"id": str(self.chats.now())})

    # ---- Graph

    def at_graph(self, seen):
        if not self.token_right(seen, GRAPH_SCOPE):
            return error(401, "InvalidAuthenticationToken")
        path = seen.path.removeprefix("/v1.0")
        if path == seen.path:
            return error(400, "BadRequest")
        if match(r"/subscriptions(/.*)?", path):
            return self.subscription(seen, path)
        found = match(r"(?:/app|/communications)/calls/([^/]+)(/.*)?", path)
        if found:
            return self.call(seen, found.group(1), (found.group(2) or "").lower())
        return self.chats.answer(seen, path)

    def call(self, seen, call_id, rest):
        call = next((c for c in self.calls.values() if c.id.replace("-", "").lower() == call_id.replace("-", "").lower()), None)
        if call is None or call.gone:
            return error(404, "7504", message="Call not found.")
        if seen.method == "GET":
            if rest == "":
                return Reply(200, call.shown())
            if rest == "/participants":
                return Reply(200, {"@odata.context": "x", "value": call.people})
            if rest == "/contentsharingsessions":
                return Reply(200, {"value": call.sharing})
            one = next((p for p in call.people if rest == f"/participants/{p['id'].lower()}"), None)
            return Reply(200, one) if one else error(404, "NotFound")
        if seen.method == "DELETE" and rest == "":
            call.deleted_by_us = True
            return Reply(204)
        if seen.method != "POST":
            return error(405, "MethodNotAllowed")
        body = seen.body if seen.raw else {}
        if not isinstance(body, dict):
            return error(400, "BadRequest")
        if rest == "/answer":
            wrong = wrong_with_answer(body)
            if wrong:
                self.ledger.append(f"answer: {wrong}")
                return error(400, "7503", message=wrong)
            call.callback_uri = body["callbackUri"]
            call.answered = seen
            return Reply(202)
        if rest == "/reject":
            if body.get("reason") not in ("none", "busy", "forbidden"):
                self.ledger.append(f"reject: {body}")
                return error(400, "7503")
            call.rejected = seen
            return Reply(202)
        if rest == "/keepalive":
            return Reply(200, {"@odata.context": "x"})
        if rest == "/updaterecordingstatus":
            if body.get("status") not in ("recording", "notRecording", "failed") or len(body.get("clientContext", "")) > 256:
                self.ledger.append(f"updateRecordingStatus: {body}")
                return error(400, "7503")
            operation = {"@odata.type": "#microsoft.graph.updateRecordingStatusOperation", "id": str(uuid.uuid4()), "clientContext": body.get("clientContext"),
                         "status": self.status_answer, "resultInfo": {"@odata.type": "#microsoft.graph.resultInfo", "code": 500, "subcode": 7000} if self.status_answer == "failed" else None}
            with self.cv:
                call.operations.append((body["status"], operation))
            return Reply(200, operation, {"Location": f"{self.url['graph']}/v1.0/communications/calls/{call.id}/operations/{operation['id']}"})
        return error(404, "NotFound")

    # ---- subscriptions

    def subscription(self, seen, path):
        if path == "/subscriptions" and seen.method == "GET":
            every, skip = [s.shown() for s in self.subscriptions.values()], int(seen.query.get("$skiptoken", 0))
            page = every[skip:skip + (self.subscription_page or len(every))]
            more = {"@odata.nextLink": f"{self.url['graph']}{seen.path}?$skiptoken={skip + len(page)}"} if skip + len(page) < len(every) else {}
            return Reply(200, {"@odata.context": "x", "value": page, **more})
        if path == "/subscriptions" and seen.method == "POST":
            return self.subscribe(seen)
        found = match(r"/subscriptions/([^/]+)(/reauthorize)?", path)
        one = self.subscriptions.get(found.group(1)) if found else None
        if one is None:
            return error(404, "ResourceNotFound", message="The object was not found.")
        if found.group(2):
            return Reply(204)
        if seen.method == "GET":
            return Reply(200, one.shown())
        if seen.method == "DELETE":
            with self.cv:
                del self.subscriptions[one.id]
            return Reply(204)
        if seen.method == "PATCH":
            body = seen.body or {}
            if any(k not in ("expirationDateTime", "notificationUrl", "encryptionCertificate", "encryptionCertificateId") for k in body):
                self.ledger.append(f"PATCH subscription: {sorted(body)}")
                return error(400, "InvalidRequest")
            wrong = self.wrong_with_life(body, one.body) if "expirationDateTime" in body else None
            if wrong or ("encryptionCertificate" in body) != ("encryptionCertificateId" in body):
                self.ledger.append(f"PATCH subscription: {wrong or 'certificate without its id'}")
                return error(400, "InvalidRequest")
            if "encryptionCertificate" in body:
                one.certificate = Certificate(body["encryptionCertificate"])
            with self.cv:
                one.body.update(body)
                self.granted(one)
            return Reply(200, one.shown())
        return error(405, "MethodNotAllowed")

    def granted(self, one):
        if self.granted_seconds is not None:
            most = time.time() + self.granted_seconds
            if seconds_of(one.body["expirationDateTime"]) > most:
                one.body["expirationDateTime"] = stamp(most)

    def wrong_with_life(self, body, whole):
        left = seconds_of(body["expirationDateTime"]) - time.time()
        if left <= 0 or left > 4320 * 60 + 60:
            return f"life of {left:.0f} s"
        if left > 3600 and not whole.get("lifecycleNotificationUrl"):
            return "more than an hour without lifecycleNotificationUrl"
        return None

    def subscribe(self, seen):
        body = seen.body if isinstance(seen.body, dict) else {}
        wrong = next((f"no {k}" for k in ("changeType", "notificationUrl", "resource", "expirationDateTime") if not body.get(k)), None) or self.wrong_with_life(body, body)
        wrong = wrong or ("clientState too long" if len(body.get("clientState", "")) > 128 else None)
        if body.get("includeResourceData"):
            wrong = wrong or next((f"no {k}" for k in ("encryptionCertificate", "encryptionCertificateId") if not body.get(k)), None)
        try:
            one = Subscription(body)
            if one.certificate and not 2048 <= one.certificate.key.key_size <= 4096:
                wrong = "key size"
        except ValueError as e:
            wrong = f"certificate: {e}"
        if wrong:
            self.ledger.append(f"POST subscriptions: {wrong}: {body.get('resource')}")
            return error(400, "InvalidRequest", message=wrong)
        status = self.chats.refusal(body["resource"])
        if status:
            return error(status, "Forbidden" if status == 403 else "NotFound")
        if self.conflict and any(s.body["resource"] == body["resource"] for s in self.subscriptions.values()):
            return error(409, "Conflict", message="a subscription for this resource exists")
        for name in ("notificationUrl", "lifecycleNotificationUrl"):
            if body.get(name) and not self.handshake(body[name]):
                self.ledger.append(f"validation of {name} failed")
                return error(400, "ValidationError", message="Subscription validation request failed.")
        with self.cv:
            self.subscriptions[one.id] = one
            self.granted(one)
            self.cv.notify_all()
        if self.subscribing:
            self.subscribing(one)
        return Reply(201, one.shown())

    def handshake(self, url):
        """While the POST is still open."""
        token = self.validation_token()
        mark = "&" if "?" in url else "?"
        try:
            answer = post(url + mark + "validationToken=" + quote_plus(token), b"", {"Content-Type": "text/plain; charset=utf-8"}, ca=self.tls and self.tls[2:] and self.tls[2], timeout=10)
        except OSError as e:
            self.handshakes.append((url, token, None, str(e)))
            return False
        self.handshakes.append((url, token, answer, None))
        return answer.status == 200 and answer.raw == token.encode() and answer.headers.get_content_type() == "text/plain"


def wrong_with_answer(body):
    """What the metadata and the page "call: answer" say about the body."""
    known = {"callbackUri", "mediaConfig", "acceptedModalities", "participantCapacity", "callOptions"}
    if set(body) - known:
        return f"unknown members {set(body) - known}"
    if not str(body.get("callbackUri", "")).startswith("http"):
        return "callbackUri"
    media = body.get("mediaConfig")
    if not isinstance(media, dict):
        return "mediaConfig"
    allowed = {"#microsoft.graph.serviceHostedMediaConfig": {"preFetchMedia"}, "#microsoft.graph.appHostedMediaConfig": {"blob"}}
    if media.get("@odata.type") not in allowed or set(media) - {"@odata.type"} - allowed[media["@odata.type"]]:
        return f"mediaConfig {media}"
    if any(set(m) - {"@odata.type", "uri", "resourceId"} or not m.get("uri") for m in media.get("preFetchMedia") or []):
        return f"preFetchMedia {media}"
    modalities = body.get("acceptedModalities")
    if not isinstance(modalities, list) or any(m not in ("audio", "video", "videoBasedScreenSharing", "data") for m in modalities):
        return "acceptedModalities"
    options = body.get("callOptions")
    flags = {"isContentSharingNotificationEnabled", "isDeltaRosterEnabled", "isInteractiveRosterEnabled", "hideBotAfterEscalation"}
    if options is not None and (options.get("@odata.type") != "#microsoft.graph.incomingCallOptions" or set(options) - flags - {"@odata.type"}
                                or any(not isinstance(v, bool) for k, v in options.items() if k in flags)):
        return f"callOptions {options}"
    if not isinstance(body.get("participantCapacity", 0), int):
        return "participantCapacity"
    return None
