"""What Microsoft's services send: call notifications, change notifications, bot activities, each with its own kind of token."""

import time
import uuid

from tenant import CLIENT, PUBLISHER, TENANT, stamp
from tenant_keys import encrypt, life
from tenant_wire import post

ALICE = ("8A34A46B-3D17-4ADC-8DCE-DC4E7D572698", "Alice Ångström")
BOB = ("112f7296-5fa4-42ca-bae8-6a692b15d4b8", "Bob")
CAROL = ("7faf8ab2-3d56-4244-b585-20c8a42ed2b8", "Carol")
RECORDER = ("832899f8-2ea1-4604-8413-27bd2892079f", "Recorder")


def pid(who, tenant=TENANT):
    """The participant id the contract promises."""
    return f"{who[0]}@{tenant}".lower()


def identity(kind, key, name=None, tenant=None):
    one = {"@odata.type": "#microsoft.graph.identity", "id": key}
    if name:
        one["displayName"] = name
    if tenant:
        one["tenantId"] = tenant
    return {"@odata.type": "#microsoft.graph.identitySet", kind: one}


def person(key, who, kind="user", tenant=TENANT, muted=False, lobby=False, sharing="receiveOnly", number=None, removed=None, **over):
    """A participant of a roster."""
    one = {"@odata.type": "#microsoft.graph.participant", "id": key, "isMuted": muted, "isInLobby": lobby,
           "info": {"@odata.type": "#microsoft.graph.participantInfo", "identity": identity(kind, who[0], who[1], tenant), "endpointType": "default", "platformId": "27"},
           "mediaStreams": [{"@odata.type": "#microsoft.graph.mediaStream", "mediaType": "audio", "sourceId": "1", "direction": "sendReceive", "serverMuted": False},
                            {"@odata.type": "#microsoft.graph.mediaStream", "mediaType": "videoBasedScreenSharing", "sourceId": "8", "direction": sharing, "serverMuted": False}],
           "rosterSequenceNumber": number, "meetingRole": "attendee", "publishedStates": []}
    if removed:
        one["removedState"] = {"reason": removed}
    one.update(over)
    return one


class Service:
    """Sends to the recorder below `base`, the configured `callback_url`."""

    def __init__(self, tenant, base, ca=None):
        self.tenant, self.base, self.ca = tenant, base.rstrip("/"), ca

    # ---- calls

    def call_claims(self, **over):
        claims = {"iss": "https://graph.microsoft.com", "aud": CLIENT, "tid": TENANT, **life()}
        claims.update(over)
        return {k: v for k, v in claims.items() if v is not None}

    def call_token(self, **over):
        return self.tenant.sets["calls"].sign(self.call_claims(**over))

    def calls(self, items, token=None, url=None, headers=None):
        """`items`: the list of commsNotification, or the whole body as bytes."""
        body = items if isinstance(items, bytes) else {"@odata.type": "#microsoft.graph.commsNotifications", "value": items}
        carried = {"Authorization": f"Bearer {token or self.call_token()}"} if token != "" else {}
        return post(url or self.base + "/api/calls", body, {**carried, "User-Agent": "Microsoft-Skype/3.0,(Calling/1.0)", **(headers or {})}, self.ca)

    # ---- changes

    def validation_claims(self, **over):
        tenant = over.get("tid") or TENANT
        claims = {"aud": CLIENT, "iss": f"https://sts.windows.net/{tenant}/", "appid": PUBLISHER, "appidacr": "2", "tid": TENANT, "ver": "1.0", **life(480)}
        claims.update(over)
        return {k: v for k, v in claims.items() if v is not None}

    def validation_token(self, **over):
        return self.tenant.sets["notifications"].sign(self.validation_claims(**over))

    def item(self, one, chat, doc, kind="created", **over):
        """One changeNotification of subscription `one` about `doc`."""
        key = chat.keys_of(doc)
        item = {"subscriptionId": one.id, "changeType": kind, "clientState": one.body.get("clientState"), "subscriptionExpirationDateTime": one.body["expirationDateTime"],
                "resource": key, "tenantId": TENANT, "resourceData": {"id": doc["id"], "@odata.type": "#Microsoft.Graph.chatMessage", "@odata.id": key}}
        if one.certificate:
            content = {"@odata.context": "https://graph.microsoft.com/$metadata#x", **doc}
            item["encryptedContent"] = encrypt(one.certificate.key, one.body["encryptionCertificateId"], one.certificate.thumbprint, content)
        item.update(over)
        return item

    def changes(self, items, tokens=None, url=None):
        body = items if isinstance(items, bytes) else {"value": items}
        if not isinstance(items, bytes) and tokens != []:
            if tokens is not None or any("encryptedContent" in i for i in items):
                body["validationTokens"] = tokens or [self.validation_token()]
        return post(url or self.base + "/api/notifications", body, None, self.ca)

    def subscriptions_for(self, chat):
        t = self.tenant
        return [s for s in t.subscriptions.values() if not s.removed and chat in t.chats.of_resource(s.body["resource"])]

    def tell(self, chat, doc, kind="created"):
        """Tells every subscription that covers the chat. Returns the answers."""
        return [self.changes([self.item(s, chat, doc, kind)], url=s.body["notificationUrl"]) for s in self.subscriptions_for(chat)]

    def lifecycle(self, one, event, **over):
        item = {"lifecycleEvent": event, "subscriptionId": one.id, "subscriptionExpirationDateTime": one.body["expirationDateTime"], "clientState": one.body.get("clientState"),
                "tenantId": TENANT, **over}
        return post(one.body["lifecycleNotificationUrl"], {"value": [item]}, None, self.ca)

    # ---- bot

    def bot_claims(self, **over):
        claims = {"iss": "https://api.botframework.com", "aud": CLIENT, "serviceurl": self.service_url, **life(60)}
        claims.update(over)
        return {k: v for k, v in claims.items() if v is not None}

    @property
    def service_url(self):
        return self.tenant.url["connector"] + "/emea/"

    def bot_token(self, **over):
        return self.tenant.sets["bot"].sign(self.bot_claims(**over))

    def activity(self, kind, conversation, who=ALICE, group="groupChat", tenant=TENANT, **over):
        one = {"type": kind, "id": str(self.tenant.chats.now()), "timestamp": stamp(time.time()), "serviceUrl": self.service_url, "channelId": "msteams",
               "from": {"id": "29:1" + who[0].replace("-", "")[:20], "name": who[1], "aadObjectId": who[0]}, "recipient": {"id": "28:" + CLIENT, "name": "Recorder"},
               "conversation": {"id": conversation, "conversationType": group, "isGroup": group != "personal", "tenantId": tenant}, "channelData": {"tenant": {"id": tenant}}}
        one.update(over)
        return one

    def send(self, activity, token=None, headers=None):
        carried = {"Authorization": f"Bearer {token or self.bot_token()}"} if token != "" else {}
        return post(self.base + "/api/messages", activity, {**carried, **(headers or {})}, self.ca)

    def call(self, *args, **kwargs):
        return Call(self, *args, **kwargs)


class Call:
    """One leg, ours, as the service sees it. `policy`: the bot data of a recording policy."""

    def __init__(self, service, source=ALICE, tid=TENANT, chain=None, thread=None, policy=None, phone=None, source_tenant=None, key=None, call_tenant=True):
        self.service, self.source, self.tid, self.thread, self.policy, self.phone = service, source, tid, thread, policy, phone
        self.id, self.chain = key or str(uuid.uuid4()), chain or str(uuid.uuid4())
        self.source_tenant, self.call_tenant = source_tenant, call_tenant
        self.mine = str(uuid.uuid4())
        self.people, self.sharing, self.operations, self.state = [], [], [], "incoming"
        self.callback_uri = self.answered = self.rejected = None
        self.gone, self.deleted_by_us, self.begun = False, False, time.monotonic()
        service.tenant.calls[self.id] = self

    @property
    def url(self):
        return f"/communications/calls/{self.id}"

    def resource(self, **over):
        source = identity("phone", self.phone) if self.phone else identity("user", self.source[0], self.source[1], self.source_tenant)
        call = {"@odata.type": "#microsoft.graph.call", "@odata.id": self.url, "id": self.id, "state": self.state, "direction": "incoming", "callChainId": self.chain,
                "source": {"@odata.type": "#microsoft.graph.participantInfo", "identity": source, "region": "emea", "languageId": "en-US"},
                "targets": [{"@odata.type": "#microsoft.graph.invitationParticipantInfo", "identity": identity("application", CLIENT, "Recorder")}],
                "requestedModalities": ["audio"], "myParticipantId": self.mine}
        if self.call_tenant:
            call["tenantId"] = self.tid
        if self.policy is not None:
            call["applicationMetadata"] = {"botData": self.policy}
            call["targets"][0]["identity"] = identity("applicationInstance", RECORDER[0], RECORDER[1])
            call["meetingInfo"] = {"@odata.type": "#microsoft.graph.tokenMeetingInfo", "token": "join token"}
            call["incomingContext"] = {"@odata.type": "#microsoft.graph.incomingContext", "sourceParticipantId": "30fad2ce-8989-41a1-8a66-f6636e629a2a",
                                       "observedParticipantId": "30fad2ce-8989-41a1-8a66-f6636e629a2a"}
        call.update(over)
        return {k: v for k, v in call.items() if v is not None}

    def shown(self):
        doc = self.resource()
        if self.thread and self.state != "incoming":
            doc["chatInfo"] = {"@odata.type": "#microsoft.graph.chatInfo", "threadId": self.thread, "messageId": "0"}
        return doc

    def note(self, data=None, kind="updated", tail="", **over):
        """A commsNotification about this call."""
        note = {"@odata.type": "#microsoft.graph.commsNotification", "changeType": kind, "resourceUrl": self.url + tail, "resourceData": data, **over}
        return {k: v for k, v in note.items() if v is not None}

    def send(self, *notes, **how):
        how.setdefault("token", self.service.call_token(tid=self.tid))
        return self.service.calls(list(notes), url=how.pop("url", self.callback_uri), **how)

    def incoming(self, **over):
        self.begun = time.monotonic()
        return self.send(self.note(self.resource(**over), "created", resource=f"/app/calls/{self.id}"))

    def until_answered(self, seconds=15):
        self.service.tenant.wait(f"the answer to {self.id}", lambda: self.answered, seconds)
        return self.answered.at - self.begun

    def until_rejected(self, seconds=15):
        self.service.tenant.wait(f"the rejection of {self.id}", lambda: self.rejected, seconds)
        return self.rejected.body

    def update(self, state, **members):
        """A partial call: only what is given."""
        self.state = state
        data = {"@odata.type": "#microsoft.graph.call", "id": self.id, "state": state}
        if self.thread and state in ("establishing", "established"):
            data["chatInfo"] = {"@odata.type": "#microsoft.graph.chatInfo", "threadId": self.thread, "messageId": "0"}
        data.update(members)
        return self.send(self.note({k: v for k, v in data.items() if v is not None}))

    def establish(self):
        self.update("establishing")
        return self.update("established")

    def end(self, code=0, subcode=0, message="The call ended normally.", state="terminated", **over):
        """terminated with changeType deleted, as documented; `state=None`: a bare deletion."""
        self.gone, self.state = True, "terminated"
        data = {"@odata.type": "#microsoft.graph.call", "@odata.id": self.url, "id": self.id, "state": state, "resultInfo": None}
        if code is not None:
            data["resultInfo"] = {"@odata.type": "#microsoft.graph.resultInfo", "code": code, "subcode": subcode, "message": message}
        data.update(over)
        return self.send(self.note({k: v for k, v in data.items() if v is not None}, "deleted"))

    def roster(self, *people):
        self.people = list(people)
        return self.send(self.note(self.people, tail="/participants"))

    def delta(self, number, *people):
        for one in people:
            self.people = [p for p in self.people if p["id"] != one["id"]] + ([] if one.get("removedState") else [one])
        wrapped = {"@odata.type": "#microsoft.graph.deltaParticipants", "participants": list(people), "sequenceNumber": number}
        return self.send(self.note([wrapped], tail="/participants"))

    def share(self, kind, key, bare=False):
        if bare:
            return self.send(self.note(None, kind, f"/contentsharingsessions/{key}"))
        return self.send(self.note([{"@odata.type": "#microsoft.graph.contentSharingSession", "id": key}], kind, "/contentsharingsessions"))

    def operation(self, context, status="completed", code=200, kind="updateRecordingStatus", change="deleted"):
        key = str(uuid.uuid4())
        data = {"@odata.type": f"#microsoft.graph.{kind}Operation", "id": key, "clientContext": context, "status": status,
                "resultInfo": {"@odata.type": "#microsoft.graph.resultInfo", "code": code, "subcode": 0, "message": "Action completed."}}
        return self.send(self.note(data, change, f"/operations/{key}"))

    def statuses(self):
        return [status for status, _ in self.operations]


def bot_data(who=BOB, reason="ComplianceRecording", tenant=TENANT, **over):
    """The bot data of a recording policy as a real call carried it."""
    data = {"mediaHostedRegion": "EUWE", "callId": str(uuid.uuid4()), "inviteReasons": [reason], "policyIdentifier": "Tag:Test Policy", "isMultiParty": False,
            "user": {"participationMethod": "Callee", "clientLocation": "EUWE", "policyHolderId": f"8:orgid:{who[0]}", "policyHolderTenantId": tenant},
            "otherSideUser": {"id": f"8:orgid:{ALICE[0]}", "participantId": str(uuid.uuid4()), "tenantId": tenant, "participationMethod": "Caller", "clientLocation": "EUWE"},
            "pairedRecorders": [], "otherRecorders": []}
    data.update(over)
    return data


