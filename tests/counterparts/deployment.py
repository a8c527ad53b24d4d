"""A small Skype for Business (UCWA) deployment of its own, written from the protocol description and the payload samples.

It shares nothing with the simulated pool of the product: another language, another author's reading of the same pages.
Three origins: discovery (127.0.0.1), the pool (127.0.0.2) and a host nobody trusts (127.0.0.3) that only notes what it
receives. Hrefs come in three styles and mean nothing; a request that does not repeat one byte for byte is answered 404.
Python's standard library only.
"""

import base64
import json
import os
import re
import time
import uuid
import zlib
from urllib.parse import parse_qs, parse_qsl, quote_plus

from counterpart import Counterpart
from deployment_wire import handler_class

PASSWORD = 'p&a+s%20s \\ü"='
APPLICATION = "10254733186"
ADDED = ("timeout", "medium", "low", "priority", "operationId", "sessionContext")
FETCHED = ("conversation", "messaging", "messagingInvitation", "onlineMeetingInvitation", "localParticipant", "communication")
BARE = FETCHED if os.environ.get("DEPLOYMENT_BARE") else ()
PUT_ME = {"f2c7a9d1-94a2-47b4-9a51-1f4c8b7b0e10": "please pass this in a PUT request"}


class Reply:
    """An answer, with the ways in which it may be spoilt on the wire."""

    def __init__(self, status, doc=None, headers=None, body=None, spoil=None):
        self.status, self.headers, self.spoil = status, dict(headers or {}), spoil
        self.body = body if body is not None else (b"" if doc is None else dump(doc))
        if doc is not None:
            self.headers.setdefault("Content-Type", None)


def dump(doc):
    """JSON as .NET wrote it: dates with escaped slashes."""
    return re.sub(r'"/Date\((\d+)\)/"', r'"\\/Date(\1)\\/"', json.dumps(doc, ensure_ascii=False)).encode()


def error(status, code, subcode=None, headers=None):
    doc = {"code": code, "message": "An error occurred. Please retry.", "debugInfo": {"x": 1}}
    if subcode:
        doc["subcode"] = subcode
    return Reply(status, doc, headers)


def data_uri(text, kind="plain", charset="utf-8", base64_=False, header=None):
    """A data URI as UCWA writes it: form encoding, lower-case hex; or base64."""
    raw = text.encode(charset)
    if base64_:
        return f"data:text/{kind};charset={charset};base64," + base64.b64encode(raw).decode()
    coded = re.sub(r"%[0-9A-F]{2}", lambda m: m.group().lower(), quote_plus(raw))
    return (header or f"data:text/{kind};charset={charset}") + "," + coded


class Conversation:
    def __init__(self, cid, thread, subject="", meeting=None):
        self.cid, self.thread, self.subject, self.meeting = cid, thread, subject, meeting
        self.state, self.messaging, self.gone, self.addable = "Incoming", "Disconnected", False, True
        self.people, self.messages, self.modalities, self.roster_hidden = {}, 0, ["Messaging"], set()


class Deployment(Counterpart):
    """The whole deployment. `style`: classic (relative), absolute, or opaque hrefs."""

    def __init__(self, style="classic", expires=28289, user="recorder@contoso.example", tls=None, pool="127.0.0.2"):
        super().__init__()
        self.style, self.expires, self.user = style, expires, user
        self.faults, self.tickets, self.names = [], {}, {}
        self.password_right, self.tokens_asked = True, 0
        self.discovery_override = self.user_override = self.token_href = self.make_error = None
        self.conversations, self.invitations, self.content_turn, self.closing = {}, {}, 0, False
        self.app_alive, self.available, self.generation, self.apps_made = False, False, 0, 0
        self.before = None
        self.bare = BARE  # rels that are never embedded
        self.accept_hook = self.send_hook = self.add_hook = self.join_hook = None
        self.pending, self.number, self.batch, self.poll, self.polls, self.acked = [], 0, None, 0, 0, 0
        self.html, self.down_until = False, 0
        self.listen({"discovery": "127.0.0.1", "pool": pool, "stranger": "127.0.0.3"}, handler_class, tls)

    def close(self):
        with self.cv:
            self.closing = True
            self.cv.notify_all()
        super().close()

    # ---- hrefs: opaque to the client

    def href(self, name):
        if self.style == "absolute":
            path = f"/ucwa/v1/applications/{APPLICATION}/{name}"
            full = self.url["pool"] + path
        elif self.style == "opaque":
            mark = zlib.crc32(f"{self.generation}/{name}".encode())
            path = full = f"/R.svc;v=2/{mark:08x}/%7Ex?who={self.user}&p=a+b%2fC&{mark % 97}"
        else:
            path = full = f"/ucwa/oauth/v1/applications/{APPLICATION}/{name}"
        if name.startswith("events?") and self.style != "opaque":
            path = full = f"/ucwa/oauth/v1/applications/{APPLICATION}/{name}"
        self.names[path] = name
        return full

    def link(self, name, title=None):
        link = {"href": self.href(name)}
        if title is not None:
            link["title"] = title
        return link

    # ---- waiting

    def is_at(self, seen, place):
        return seen.name and re.fullmatch(place, seen.name)

    def drained(self, seconds=20):
        """Everything sent was acknowledged by a poll for what comes after."""
        self.wait("all batches acknowledged", lambda: not self.pending and self.batch is None, seconds)

    # ---- events

    def emit(self, *events):
        with self.cv:
            self.pending.extend(e for e in events if e)
            self.cv.notify_all()

    def event(self, sender, rel, name, kind, doc=None, title=None, in_=None, key=None, **more):
        """`sender` is "communication", "me" or a conversation."""
        conversation = isinstance(sender, Conversation)
        where = f"communication/conversations/{sender.cid}" if conversation else sender
        event = {"link": dict(rel=rel, **self.link(name, title))}
        if in_:
            event["in"] = dict(rel=in_[0], **self.link(in_[1], in_[2] if len(in_) > 2 else None))
        event.update({k: v for k, v in more.items() if v is not None})
        if doc is not None and not (self.bare and rel in self.bare):
            event["_embedded"] = {key or rel: doc}
        event["type"] = kind
        return ("conversation" if conversation else sender, self.href(where), event)

    def fault(self, reply):
        """The next (or hanging) poll is answered with this; a callable gets the batch's bytes when there are some."""
        with self.cv:
            self.faults.append(reply)
            self.cv.notify_all()

    def events_href(self, number):
        return self.href(f"events?ack={number}")

    def poll_events(self, seen, number):
        with self.cv:
            self.poll += 1
            self.polls += 1
            mine, generation = self.poll, self.generation
            if time.monotonic() < self.down_until:
                return Reply(200, spoil="reset")
            if self.batch is not None and number == self.number + 1:
                self.batch, self.acked = None, self.number
            self.cv.notify_all()
            end = time.monotonic() + float(dict(parse_qsl(seen.target.partition("?")[2])).get("timeout", 180))
            while True:
                fault = self.faults[0] if self.faults else None
                if fault is not None and not callable(fault):
                    return self.faults.pop(0)
                if self.closing or (self.poll == mine and (self.generation != generation or not self.app_alive)):
                    return error(404, "NotFound", "ApplicationNotFound")
                if self.poll != mine:
                    return error(409, "Conflict", "PGetReplaced")
                if self.batch is not None and number == self.number:
                    return self.answer(self.batch)
                if number != self.number + 1:
                    first = self.number if self.batch is not None else self.number + 1
                    return Reply(200, {"_links": {"self": {"href": seen.target}, "resync": {"href": self.events_href(first)}}})
                if self.pending or time.monotonic() > end:
                    self.number += 1
                    self.batch = self.make_batch()
                    continue
                self.cv.wait(0.25)

    def make_batch(self):
        senders = []
        for rel, where, event in self.pending:
            if not senders or senders[-1]["href"] != where:
                senders.append({"rel": rel, "href": where, "events": []})
            senders[-1]["events"].append(event)
        self.pending = []
        doc = {"_links": {"next": {"href": self.events_href(self.number + 1)}, "self": {"href": self.events_href(self.number)}}}
        if senders:
            doc["sender"] = senders
            doc["x-unheard-of"] = {"depth": [1, None, {}]}
        return dump(doc)

    def answer(self, body):
        if self.faults:
            return self.faults.pop(0)(body)
        return Reply(200, body=body, headers={"Content-Type": None})

    # ---- requests

    def handle(self, seen):
        with self.cv:
            self.seen.append(seen)
            self.cv.notify_all()
        if seen.origin == "stranger":
            return Reply(404, body=b"<html>nobody home</html>", headers={"Content-Type": "text/html"})
        path = seen.target.partition("?")[0]
        if path in ("/", "/root") and seen.origin == "discovery":
            seen.name = "discovery"
            doc = self.discovery_override or {"_links": {
                "self": {"href": self.url["discovery"] + "/root"},
                "user": {"href": self.url["discovery"] + "/AD.svc/root/oauth/user?originalDomain=contoso.example"},
                "xframe": {"href": self.url["discovery"] + "/XFrame.html"}}}
            return Reply(200, doc)
        if path.endswith("/loop"):
            seen.name = "loop"
            return Reply(200, {"_links": {"redirect": {"href": self.url["discovery"] + "/a/loop" if "b" in path else
                                                       self.url["discovery"] + "/b/loop"}}})
        if path.startswith("/WebTicket/"):
            return self.token(seen)
        refused = self.unauthorised(seen)
        if refused:
            return refused
        if seen.origin == "discovery" and path == "/AD.svc/root/oauth/user":
            seen.name = "user"
            return Reply(200, self.user_override or {"_links": {"applications": {"href": self.url["pool"] + "/ucwa/oauth/v1/applications"},
                                                                "self": {"href": self.url["discovery"] + path}}})
        if seen.origin == "pool" and path == "/ucwa/oauth/v1/applications":
            seen.name = "applications"
            return self.create(seen)
        name = self.names.get(strip_added(seen.target))
        if seen.origin != "pool" or name is None:
            seen.name = "unknown"
            return error(404, "NotFound")
        seen.name = name
        with self.cv:
            self.cv.notify_all()
        if self.before:
            answer = self.before(seen)
            if answer is not None:
                return answer
        if name.startswith("events?"):
            return self.poll_events(seen, int(name.rpartition("=")[2]))
        with self.cv:
            if not self.app_alive:
                return error(404, "NotFound", "ApplicationNotFound")
            reply = self.dispatch(seen, name) or error(404, "NotFound")
            self.cv.notify_all()
            return reply

    def challenge(self, origin):
        href = self.token_href or self.url[origin] + "/WebTicket/oauthtoken"
        quoted = f'"{href}"' if origin == "pool" else href
        return Reply(401, body=b"<html><h1>401</h1></html>", headers={
            "Content-Type": "text/html; charset=utf-8",
            "X-Many": [("WWW-Authenticate", 'Negotiate, bearer trusted_issuers="", client_id="0000,4"'),
                       ("WWW-Authenticate", f'msrtcoauth grant_type="urn:microsoft.rtc:windows,urn:microsoft.rtc:anonmeeting,password",href={quoted}')]})

    def unauthorised(self, seen):
        given = seen.headers.get("Authorization")
        with self.cv:
            if given is None:
                return self.challenge(seen.origin)
            origin, end = self.tickets.get(given.removeprefix("Bearer "), (None, 0))
            if origin is not None and origin != seen.origin:
                return error(500, "ServiceFailure", headers={"X-Ms-diagnostics": '28032;source="fe";reason="The web ticket is invalid.'})
            if origin is None or time.monotonic() > end:
                return self.challenge(seen.origin)

    def token(self, seen):
        seen.name = "token"
        form = parse_qs(seen.body.decode(), keep_blank_values=True)
        with self.cv:
            self.tokens_asked += 1
            self.cv.notify_all()
            if form.get("grant_type") != ["password"]:
                return Reply(400, {"error": "unsupported_grant_type"}, {"X-Ms-diagnostics": '28029;reason="grant'})
            if not self.password_right or form.get("password") != [PASSWORD] or form.get("username") != ["contoso\\recorder"]:
                return Reply(400, {"error": "invalid_grant"}, {"X-Ms-diagnostics": "28020;source=\"x\";reason=\"no\""})
            ticket = f"cwt=AAEB+{seen.origin}/{uuid.uuid4().hex}=="
            self.tickets[ticket] = (seen.origin, time.monotonic() + self.expires)
        return Reply(200, {"access_token": ticket, "expires_in": self.expires, "ms_rtc_identityscope": "local", "token_type": "Bearer"})

    def revoke(self):
        with self.cv:
            self.tickets.clear()

    def create(self, seen):
        wanted = {k.lower(): v for k, v in json.loads(seen.body).items()}
        if seen.method != "POST" or not all(wanted.get(k) for k in ("useragent", "endpointid", "culture")):
            return error(400, "BadRequest", "ParameterValidationFailure")
        with self.cv:
            self.generation += 1
            self.apps_made += 1
            self.app_alive, self.available = True, False
            self.pending, self.number, self.batch, self.acked = [], 0, None, 0
            self.conversations, self.invitations = {}, {}
            if self.style == "opaque":
                self.names = {}
            self.cv.notify_all()
            return Reply(201, self.application(), {"Location": self.href("application"), "ETag": '"77"'})

    def lose_application(self):
        with self.cv:
            self.app_alive = False
            self.poll += 1
            self.poll -= 1
            self.cv.notify_all()

    def application(self):
        me = {"name": "Recorder", "uri": "sip:Recorder@Contoso.example", "rel": "me", "_links": {"self": self.link("me")}}
        links = ("note", "presence", "reportMyActivity") if self.available else ("makeMeAvailable",)
        me["_links"].update({l: self.link("me/" + l) for l in links})
        communication = dict(PUT_ME, supportedModalities=["Messaging"] if self.available else [], rel="communication", etag="1925102412",
                             supportedMessageFormats=["Plain", "Html"] if self.html else ["Plain"], _links={
            "self": self.link("communication"), "conversations": self.link("communication/conversations?filter=active"),
            "startMessaging": self.link("communication/messagingInvitations"),
            "joinOnlineMeeting": self.link("communication/onlineMeetingInvitations")})
        return {"culture": "en-US", "userAgent": "x", "rel": "application", "etag": "77", "unheardOf": None,
                "_links": {"self": self.link("application"), "policies": self.link("policies"), "batch": self.link("batch"),
                           "events": {"href": self.events_href(self.number + 1 if self.batch is None else self.number)}},
                "_embedded": {"me": me, "people": {}, "onlineMeetings": {}, "communication": communication}}

    def dispatch(self, seen, name):
        verb = (seen.method, name)
        if verb == ("GET", "application"):
            return Reply(200, self.application())
        if verb == ("DELETE", "application"):
            self.app_alive = False
            return Reply(204)
        if verb == ("GET", "policies"):
            return Reply(200, {"rel": "policies", "messageArchiving": "Enabled", "htmlMessaging": "Enabled", "_links": {"self": self.link("policies")}})
        if verb == ("GET", "me"):
            return Reply(200, self.application()["_embedded"]["me"])
        if verb == ("GET", "communication"):
            return Reply(200, self.application()["_embedded"]["communication"])
        if verb == ("POST", "me/makeMeAvailable"):
            return self.make_available(seen)
        if seen.method == "POST" and name in ("me/note", "me/presence", "me/reportMyActivity"):
            return Reply(204) if self.available else error(409, "Conflict", "MakeMeAvailableRequired")
        if seen.method == "GET" and name in ("me/note", "me/presence"):
            return Reply(200, {"rel": name[3:], "_links": {"self": self.link(name)}})
        if verb == ("GET", "communication/conversations?filter=active"):
            links = [self.link(f"communication/conversations/{c.cid}") for c in self.conversations.values() if not c.gone]
            return Reply(200, {"rel": "conversations", "_links": {"self": self.link(name), "conversation": links}})
        if verb == ("POST", "communication/onlineMeetingInvitations"):
            return self.join(seen)
        match = re.fullmatch(r"communication/(?:messaging|onlineMeeting|audioVideo|phoneAudio)Invitations/([^/]+)(/accept|/decline|)", name)
        if match and match[1] in self.invitations:
            return self.invitation_request(seen, self.invitations[match[1]], match[2])
        match = re.fullmatch(r"communication/messagingInvitations\?conversation=(.+)", name)
        if match and seen.method == "POST":
            return self.add_messaging(seen, self.conversations.get(match[1]))
        match = re.fullmatch(r"communication/conversations/([^/]+)(.*)", name)
        if match and match[1] in self.conversations:
            return self.conversation_request(seen, self.conversations[match[1]], match[2])

    def make_available(self, seen):
        if self.make_error:
            return self.make_error
        wanted = {k.lower(): v for k, v in json.loads(seen.body).items()}
        if wanted.get("supportedmodalities") != ["Messaging"]:
            return error(403, "Forbidden")
        self.available, self.html = True, "Html" in wanted.get("supportedmessageformats", [])
        self.emit(self.event("communication", "communication", "communication", "updated", self.application()["_embedded"]["communication"]),
                  self.event("me", "me", "me", "updated"), *[self.event("me", r, "me/" + r, "added") for r in ("presence", "note", "location")])
        return Reply(204)

    # ---- resources

    def participant(self, c, who):
        person = c.people[who]
        at = f"communication/conversations/{c.cid}"
        doc = {"sourceNetwork": "SameEnterprise", "anonymous": False, "rel": "participant", "name": person["name"], "uri": person["uri"],
               "_links": {"self": self.link(f"{at}/participants/{who}"), "conversation": self.link(at)}}
        if c.meeting:
            doc.update(role=person["role"], inLobby=person["lobby"])
        return doc

    def conversation_doc(self, c):
        at = f"communication/conversations/{c.cid}"
        links = {"self": self.link(at), "messaging": self.link(at + "/messaging"), "participants": self.link(at + "/participants")}
        doc = {"state": c.state, "threadId": c.thread, "subject": c.subject, "activeModalities": c.modalities, "importance": "Normal",
               "recording": False, "rel": "conversation", "_links": links, "created": "/Date(1474932025211)/"}
        if c.state not in ("Incoming", "Connecting"):
            links["localParticipant"] = self.link(f"{at}/participants/{self.user}", "Recorder")
        if c.meeting:
            doc.update(participantCount=len([p for p in c.people.values() if not p["lobby"]]) + 1, audienceMessaging="Enabled")
            links["onlineMeeting"] = self.link(at + "/onlineMeeting")
            for view in ("leaders", "attendees", "lobby"):
                links[view] = self.link(f"{at}/participants?filter={view}")
        return doc

    def messaging_doc(self, c):
        at = f"communication/conversations/{c.cid}"
        doc = {"state": c.messaging, "rel": "messaging", "_links": {"self": self.link(at + "/messaging"), "conversation": self.link(at)}}
        if c.messaging == "Connected":
            doc["negotiatedMessageFormats"] = ["Plain", "Html"]
            doc["_links"].update(stopMessaging=self.link(at + "/messaging/terminate"), sendMessage=self.link(at + "/messaging/messages"),
                                 setIsTyping=self.link(at + "/messaging/typing"))
        elif c.messaging == "Disconnected" and c.state == "Conferenced" and c.addable:
            doc["_links"]["addMessaging"] = self.link(f"communication/messagingInvitations?conversation={c.cid}")
        return doc

    def conversation_request(self, seen, c, rest):
        if c.gone:
            return error(404, "NotFound", "ConversationNotFound")
        if seen.method == "GET":
            at = f"communication/conversations/{c.cid}"
            if rest == "":
                return Reply(200, self.conversation_doc(c))
            if rest == "/messaging":
                return Reply(200, self.messaging_doc(c))
            if rest == "/onlineMeeting":
                return Reply(200, {"rel": "onlineMeeting", "onlineMeetingUri": c.meeting, "subject": c.subject, "_links": {"self": self.link(at + rest)}})
            if rest.startswith("/participants?filter=") or rest == "/participants":
                view = rest.partition("=")[2]
                chosen = [w for w, p in c.people.items() if (view == "lobby") == p["lobby"] and (view in ("", "lobby") or p["role"] == view[:-1].capitalize())
                          or (view == "attendees" and not p["lobby"] and p["role"] == "Unknown")]
                if view == "lobby":
                    return Reply(200, {"rel": view, "_links": {"self": self.link(at + rest)}, "_embedded": {"participant": [self.participant(c, w) for w in chosen]}})
                return Reply(200, {"rel": view or "participants", "_links": {"self": self.link(at + rest), "participant": [self.link(f"{at}/participants/{w}", "") for w in chosen]}})
            who = rest.removeprefix("/participants/")
            if who in c.people:
                return Reply(200, self.participant(c, who))
            if who == self.user:
                return Reply(200, self.local(c))
            return getattr(c, "extra", {}).get(rest)
        if seen.method == "POST" and rest == "/messaging/messages":
            return self.send(seen, c)
        if seen.method == "POST" and rest == "/messaging/terminate":
            self.set_messaging(c, "Disconnected")
            return Reply(204)
        if seen.method == "DELETE" and rest == "":
            self.end(c, emit=True)
            return Reply(204)

    def local(self, c):
        at = f"communication/conversations/{c.cid}"
        return {"sourceNetwork": "SameEnterprise", "anonymous": False, "name": "Recorder", "uri": "sip:Recorder@Contoso.example", "rel": "participant",
                "_links": {"self": self.link(f"{at}/participants/{self.user}"), "conversation": self.link(at), "me": self.link("me")}}

    def send(self, seen, c):
        operation = dict(parse_qsl(seen.target.partition("?")[2])).get("operationId")
        if c.messaging != "Connected" or not seen.headers.get("Content-Type", "").startswith("text/"):
            return error(409, "Conflict")
        if self.send_hook:
            answer = self.send_hook(seen, c, operation)
            if answer is not None:
                return answer
        name = self.next_message(c)
        self.emit(self.sent_message(c, name, operation))
        return Reply(201, headers={"Location": self.href(name)})

    def next_message(self, c):
        c.messages += 1
        return f"communication/conversations/{c.cid}/messaging/messages/{c.messages}"

    def sent_message(self, c, name, operation, **more):
        doc = {"direction": "Outgoing", "timeStamp": f"/Date({int(time.time() * 1000)})/", "operationId": operation, "rel": "message",
               "_links": {"self": self.link(name), "messaging": self.link(f"communication/conversations/{c.cid}/messaging")}}
        failed = more.pop("failed", None)
        if failed:
            doc["_links"]["failedDeliveryParticipant"] = [self.link(f"communication/conversations/{c.cid}/participants/{w}") for w in failed]
        return self.event(c, "message", name, "completed", doc, **dict({"status": "Success"}, **more))

    # ---- flows

    def people_in(self, c, *people, role="Attendee", lobby=False):
        for who, name in people:
            c.people[who] = {"name": name, "uri": "sip:" + who, "role": role, "lobby": lobby}

    def joined(self, c, who, title="", embed=False):
        return self.event(c, "participant", f"communication/conversations/{c.cid}/participants/{who}", "added",
                          self.participant(c, who) if embed else None, title)

    def conversation_event(self, c, kind="updated", embed=True, **more):
        return self.event("communication", "conversation", f"communication/conversations/{c.cid}", kind, self.conversation_doc(c) if embed else None, **more)

    def messaging_event(self, c, **more):
        return self.event(c, "messaging", f"communication/conversations/{c.cid}/messaging", "updated", self.messaging_doc(c), **more)

    def set_messaging(self, c, state, **more):
        c.messaging = state
        self.emit(self.messaging_event(c, **more))

    def invitation_doc(self, i):
        c, at = i["c"], f"communication/conversations/{i['c'].cid}"
        links = {"self": self.link(i["name"]), "to": self.link("people/" + self.user), "conversation": self.link(at)}
        doc = {"direction": i["direction"], "importance": i.get("importance", "Normal"), "threadId": c.thread, "state": i["state"],
               "subject": c.subject, "rel": i["rel"], "_links": links}
        if i.get("operation"):
            doc["operationId"] = i["operation"]
        if i["rel"] == "onlineMeetingInvitation":
            doc.update(onlineMeetingUri=c.meeting, availableModalities=["Messaging"])
        else:
            links["messaging"] = self.link(at + "/messaging")
        if i["direction"] == "Incoming":
            if i["state"] == "Connecting":
                links.update(accept=self.link(i["name"] + "/accept"), decline=self.link(i["name"] + "/decline"))
            if i.get("message"):
                links["message"] = {"href": i["message"]}
            if i.get("from") == "link":
                links["from"] = self.link(f"{at}/participants/{i['who']}", "")
            elif i.get("from") != "none":
                doc["_embedded"] = {"from": self.participant(c, i["who"])}
        return doc

    def invite(self, cid, who, thread=None, text=None, message=None, meeting=None, subject="", rel=None, embed=True, **more):
        """Somebody (address, name) invites the recorder. Returns the conversation and the invitation."""
        with self.cv:
            c = self.conversations.get(cid) or Conversation(cid, thread or f"Ad{zlib.crc32(cid.encode()):08x}+/==", subject, meeting)
            self.conversations[cid] = c
            c.meeting = c.meeting or meeting
            if who[0] not in c.people:
                self.people_in(c, who, role="Leader" if meeting else "Unknown")
            rel = rel or ("onlineMeetingInvitation" if meeting else "messagingInvitation")
            key = uuid.uuid4().hex
            i = dict({"c": c, "who": who[0], "rel": rel, "state": "Connecting", "direction": "Incoming", "name": f"communication/{rel}s/{key}",
                      "message": message or (data_uri(text + "\r\n") if text else None)}, **more)
            self.invitations[key] = i
            c.state = "Incoming"
            self.emit(self.event("communication", rel, i["name"], "started", self.invitation_doc(i) if embed else None),
                      self.conversation_event(c, "added"),
                      self.event(c, "localParticipant", f"communication/conversations/{cid}/participants/{self.user}", "added", self.local(c), "Recorder"))
            return c, i

    def completed(self, i, status="Success", state="Connected", reason=None):
        i["state"] = state
        return self.event("communication", i["rel"], i["name"], "completed", self.invitation_doc(i), status=status, reason=reason)

    def invitation_request(self, seen, i, rest):
        if seen.method == "GET" and rest == "":
            return Reply(200, self.invitation_doc(i))
        if seen.method != "POST" or i["state"] != "Connecting":
            return error(409, "Conflict")
        c = i["c"]
        if rest == "/decline":
            self.emit(self.completed(i, "Failure", "Declined", {"code": "LocalFailure", "subcode": "Declined", "message": "You declined."}))
            self.end(c, emit=True)
            return Reply(204)
        if self.accept_hook:
            return self.accept_hook(i)
        self.enter(i)
        return Reply(204)

    def enter(self, i):
        """The invitation is carried out: two-party with messaging at once, a meeting without."""
        c = i["c"]
        if i["rel"] == "messagingInvitation" and not c.meeting:
            c.messaging, c.state = "Connected", "Connected"
            self.emit(self.messaging_event(c), self.conversation_event(c), *[self.joined(c, w) for w in c.people],
                      *[self.event(c, "participantMessaging", f"communication/conversations/{c.cid}/participants/{w}/messaging", "added",
                                   in_=("participant", f"communication/conversations/{c.cid}/participants/{w}", "")) for w in c.people],
                      self.completed(i))
        else:
            c.state = "Conferenced"
            self.emit(self.conversation_event(c), *[self.joined(c, w) for w in c.people if w not in c.roster_hidden], self.completed(i), self.messaging_event(c))

    def add_messaging(self, seen, c):
        if c is None or c.gone:
            return error(404, "NotFound", "ConversationNotFound")
        body = json.loads(seen.body) if seen.body else {}
        if not body.get("operationId") or c.messaging != "Disconnected" or c.state != "Conferenced":
            return error(409, "Conflict")
        if self.add_hook:
            answer = self.add_hook(seen, c)
            if answer is not None:
                return answer
        key = uuid.uuid4().hex
        i = {"c": c, "who": self.user, "rel": "messagingInvitation", "state": "Connecting", "direction": "Outgoing",
             "name": f"communication/messagingInvitations/{key}", "operation": body["operationId"]}
        self.invitations[key] = i
        started = self.event("communication", i["rel"], i["name"], "started", self.invitation_doc(i))
        c.messaging = "Connecting"
        connecting = self.messaging_event(c)
        c.messaging = "Connected"
        self.emit(started, connecting, self.messaging_event(c), self.completed(i))
        return Reply(201, headers={"Location": self.href(i["name"])})

    def join(self, seen):
        body = json.loads(seen.body)
        if self.join_hook:
            answer = self.join_hook(seen, body)
            if answer is not None:
                return answer
        return error(404, "NotFound", "DestinationNotFound")

    def rejoined(self, body, cid, thread, meeting, subject, people):
        """The recorder's own joinOnlineMeeting works out, in a conversation with another href."""
        c = self.conversations[cid] = Conversation(cid, thread, subject, meeting)
        self.people_in(c, *people)
        key = uuid.uuid4().hex
        i = {"c": c, "who": self.user, "rel": "onlineMeetingInvitation", "state": "Connecting", "direction": "Outgoing",
             "name": f"communication/onlineMeetingInvitations/{key}", "operation": body.get("operationId")}
        self.invitations[key] = i
        c.state = "Connecting"
        self.emit(self.event("communication", i["rel"], i["name"], "started", self.invitation_doc(i)), self.conversation_event(c, "added"))
        self.enter(i)
        return Reply(201, headers={"Location": self.href(i["name"])})

    def say(self, c, who, text=None, html=None, plain=None, html_uri=None, stamp=None, embed=True, **more):
        """Somebody says something; returns the message's logical name."""
        name = self.next_message(c)
        at = f"communication/conversations/{c.cid}"
        links = {"self": self.link(name), "messaging": self.link(at + "/messaging"), "contact": self.link("people/" + who),
                 "participant": self.link(f"{at}/participants/{who}", more.pop("title", ""))}
        if text is not None or plain:
            links["plainMessage"] = {"href": plain or data_uri(text)}
        if html is not None or html_uri:
            links["htmlMessage"] = {"href": html_uri or data_uri(html, "html")}
        doc = {"direction": "Incoming", "timeStamp": f"/Date({stamp or int(time.time() * 1000)})/", "rel": "message", "_links": links}
        doc.update(more)
        if not embed:
            c.extra = dict(getattr(c, "extra", {}), **{name.removeprefix(at): Reply(200, doc)})
        self.emit(self.event(c, "message", name, "completed", doc if embed else None, status="Success"))
        return name

    def left(self, c, who, reason=None):
        c.people.pop(who, None)
        return self.event(c, "participant", f"communication/conversations/{c.cid}/participants/{who}", "deleted", title="", reason=reason)

    def view(self, c, who, view, kind):
        """Membership of a view changed: lobby, leaders, attendees or typingParticipants."""
        at = f"communication/conversations/{c.cid}"
        where = f"{at}/messaging/typingParticipants" if view == "typingParticipants" else f"{at}/participants?filter={view}"
        return self.event(c, "participant", f"{at}/participants/{who}", kind, title="", in_=(view, where))

    def end(self, c, emit=True, reason=None, deleted_only=False):
        with self.cv:
            c.state, c.messaging = "Disconnected", "Disconnected"
            updated = None if deleted_only else self.conversation_event(c, reason=reason)
            messaging = None if deleted_only else self.messaging_event(c)
            c.gone = True
            if emit:
                self.emit(messaging, updated, self.conversation_event(c, "deleted", embed=False, reason=reason))


def strip_added(target):
    """The href without the parameters a client may add, the rest byte for byte."""
    path, mark, query = target.partition("?")
    kept = [p for p in query.split("&") if p and p.partition("=")[0] not in ADDED]
    return path + (mark + "&".join(kept) if kept else "")
