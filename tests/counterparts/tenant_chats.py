"""Chats and channels as Graph shows them: messages and their versions, lists that shift while they are paged."""

import base64
import json
import re
import time
from urllib.parse import quote, unquote

from tenant_wire import Reply, match

BY = ("lastModifiedDateTime", "createdDateTime")


def iso(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms / 1000)) + f".{ms % 1000:03d}Z"


def seconds(text):
    """Times are compared as numbers; both forms occur in filters."""
    import datetime
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00")).timestamp()


def user(who, tenant=None, kind="aadUser"):
    return {"application": None, "device": None, "conversation": None,
            "user": {"@odata.type": "#microsoft.graph.teamworkUserIdentity", "id": who[0], "displayName": who[1], "userIdentityType": kind, "tenantId": tenant}}


class Chat:
    def __init__(self, thread, kind="group", team=None, topic=None, members=()):
        self.id, self.kind, self.team, self.topic, self.members = thread, kind, team, topic, list(members)
        self.messages, self.files, self.refuse = {}, {}, None

    @property
    def path(self):
        return f"/teams/{self.team}/channels/{self.id}" if self.team else f"/chats/{self.id}"

    @property
    def odata(self):
        return f"teams('{self.team}')/channels('{self.id}')" if self.team else f"chats('{self.id}')"

    def keys_of(self, doc):
        """What notifications name: replies of channels stand below their root."""
        if self.team and doc.get("replyToId"):
            return f"{self.odata}/messages('{doc['replyToId']}')/replies('{doc['id']}')"
        return f"{self.odata}/messages('{doc['id']}')"


class Chats:
    """`page` limits pages below `$top`; `on_page(chat, n)` is told each page before it is made, and may change things;
    `blank_first` makes first pages empty; `foreign` puts another host into next links."""

    def __init__(self, tenant):
        self.tenant, self.all, self.page, self.pages, self.on_page = tenant, {}, None, 0, None
        self.blank_first, self.foreign, self.last, self.refuse_all, self.meetings = False, None, 0, None, {}

    def add(self, *args, **kwargs):
        chat = Chat(*args, **kwargs)
        self.all[chat.id] = chat
        return chat

    # ---- what people do

    def now(self):
        """Milliseconds, never the same twice."""
        with self.tenant.cv:
            self.last = max(self.last + 1, int(time.time() * 1000))
            return self.last

    def say(self, chat, who, text="", html=None, at=None, key=None, **over):
        at = self.now() if at is None else at
        key = str(at) if key is None else key
        doc = {"id": key, "replyToId": None, "etag": str(at), "messageType": "message", "createdDateTime": iso(at), "lastModifiedDateTime": iso(at), "lastEditedDateTime": None,
               "deletedDateTime": None, "subject": None, "summary": None, "chatId": None if chat.team else chat.id, "importance": "normal", "locale": "en-us", "webUrl": None,
               "channelIdentity": {"teamId": chat.team, "channelId": chat.id} if chat.team else None, "policyViolation": None, "eventDetail": None,
               "from": user(who, "1fdd12d0-4620-44ed-baec-459b611f84b2") if who else None, "attachments": [], "mentions": [], "reactions": [], "messageHistory": [],
               "body": {"contentType": "text" if html is None else "html", "content": text if html is None else html}}
        doc.update(over)
        with self.tenant.cv:
            chat.messages[doc["id"]] = doc
        return doc

    def system(self, chat, detail, **over):
        return self.say(chat, None, html="<systemEventMessage/>", eventDetail=detail, **{"messageType": "systemEventMessage", **over})

    def change(self, chat, key, **over):
        at = self.now()
        doc = json.loads(json.dumps(chat.messages[key]))
        doc.update(etag=str(at), lastModifiedDateTime=iso(at), **over)
        with self.tenant.cv:
            chat.messages[key] = doc
        return doc

    def edit(self, chat, key, text, html=False, **over):
        return self.change(chat, key, lastEditedDateTime=iso(self.now()), body={"contentType": "html" if html else "text", "content": text}, **over)

    def delete(self, chat, key):
        return self.change(chat, key, deletedDateTime=iso(self.now()), body={"contentType": "text", "content": ""})

    def undelete(self, chat, key, text):
        return self.change(chat, key, deletedDateTime=None, body={"contentType": "text", "content": text})

    def react(self, chat, key, who, kind, add=True):
        doc = chat.messages[key]
        same = lambda r: r["reactionType"] == kind and r["user"]["user"]["id"] == who[0]
        one = {"reactionType": kind, "displayName": kind, "reactionContentUrl": None, "createdDateTime": iso(self.now()), "user": user(who)}
        reactions = [r for r in doc["reactions"] if not same(r)] + ([one] if add else [])
        past = {"modifiedDateTime": iso(self.now()), "actions": "reactionAdded" if add else "reactionRemoved", "reaction": one}
        return self.change(chat, key, reactions=reactions, messageHistory=doc["messageHistory"] + [past])

    # ---- what Graph answers

    def of_resource(self, resource):
        """The chats a subscription's resource covers."""
        path = unquote(resource).split("?")[0]
        path = "/" + path.lstrip("/")
        if path == "/chats/getAllMessages":
            return [c for c in self.all.values() if not c.team]
        if path == "/teams/getAllMessages":
            return [c for c in self.all.values() if c.team]
        found = match(r"/users/([^/]+)/chats/getAllMessages", path)
        if found:
            return [c for c in self.all.values() if not c.team and any(m[0] == found.group(1) for m in c.members)]
        return [c for c in self.all.values() if f"{c.path}/messages" == path]

    def refusal(self, resource):
        path = "/" + unquote(resource).split("?")[0].lstrip("/")
        found = match(r"/chats/(.+)/messages", path)
        if not found:
            return None
        chat = self.all.get(found.group(1))
        return 404 if chat is None else chat.refuse

    def answer(self, seen, path):
        from tenant import error
        if seen.method != "GET":
            return error(405, "MethodNotAllowed")
        if self.refuse_all:
            return error(self.refuse_all, "Forbidden")
        found = match(r"/chats/([^/]+)(/.*)?", path)
        if found and found.group(1) != "getAllMessages":
            return self.of_chat(seen, self.all.get(found.group(1)), found.group(2) or "")
        found = match(r"/teams/([^/]+)/channels/(?!getAllMessages)([^/]+)(/.*)?", path)
        if found:
            chat = self.all.get(found.group(2))
            return self.of_chat(seen, chat if chat and chat.team == found.group(1) else None, found.group(3) or "")
        found = match(r"/users/([^/]+)/chats(/getAllMessages)?", path)
        if found:
            mine = [c for c in self.all.values() if not c.team and any(m[0].lower() == found.group(1).lower() for m in c.members)]
            return self.listing(seen, None, [d for c in mine for d in c.messages.values()]) if found.group(2) else Reply(200, {"value": [self.shown(c) for c in mine]})
        found = match(r"/teams/([^/]+)/channels/getAllMessages", path)
        if found:
            return self.listing(seen, None, [d for c in self.all.values() if c.team == found.group(1) for d in c.messages.values()])
        found = match(r"/users/([^/]+)/onlineMeetings", path)
        if found:
            asked = match(r"JoinWebUrl eq '(.*)'", seen.query.get("$filter", ""))
            meeting = self.meetings.get(asked.group(1).replace("''", "'")) if asked else None
            return Reply(200, {"value": [meeting] if meeting else []})
        return error(404, "ResourceNotFound")

    def shown(self, chat, expand=False):
        doc = {"id": chat.id, "topic": chat.topic, "createdDateTime": iso(0), "lastUpdatedDateTime": iso(0), "chatType": chat.kind, "webUrl": None,
               "tenantId": "1fdd12d0-4620-44ed-baec-459b611f84b2", "onlineMeetingInfo": None}
        if expand:
            doc["members"] = self.members(chat)
        return doc

    def members(self, chat):
        return [{"@odata.type": "#microsoft.graph.aadUserConversationMember", "id": base64.b64encode(m[0].encode()).decode(), "roles": ["owner"], "displayName": m[1], "userId": m[0],
                 "email": None, "tenantId": "1fdd12d0-4620-44ed-baec-459b611f84b2", "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z"} for m in chat.members]

    def of_chat(self, seen, chat, rest):
        from tenant import error
        if chat is None:
            return error(404, "NotFound")
        if chat.refuse:
            return error(chat.refuse, "Forbidden" if chat.refuse == 403 else "NotFound")
        if rest == "":
            return Reply(200, self.shown(chat, "members" in seen.query.get("$expand", "")))
        if rest == "/members":
            return Reply(200, {"value": self.members(chat)})
        if rest in ("/permissionGrants", "/installedApps"):
            return Reply(200, {"value": []})
        roots = [d for d in chat.messages.values() if not (chat.team and d.get("replyToId"))]
        if rest == "/messages":
            return self.listing(seen, chat, roots)
        if rest == "/messages/delta" and chat.team:
            return self.listing(seen, chat, roots, delta=True)
        found = match(r"/messages/([^/]+)(/replies)?(?:/([^/]+))?", rest)
        if found and chat.team and found.group(2) and not found.group(3):
            return self.listing(seen, chat, [d for d in chat.messages.values() if d.get("replyToId") == found.group(1)])
        if found and (found.group(2) or not found.group(3)):
            doc = chat.messages.get(found.group(3) or found.group(1))
            return Reply(200, self.plain(seen, doc)) if doc else error(404, "NotFound")
        found = match(r"/messages/(.+)/hostedContents(?:/([^/]+)/\$value)?", rest)
        if found and found.group(2):
            file = chat.files.get(found.group(2))
            return Reply(200, body=file[1], headers={"Content-Type": file[0]}) if file else error(404, "NotFound")
        if found:
            return Reply(200, {"value": [{"id": k, "contentBytes": None, "contentType": None} for k in chat.files]})
        return error(404, "NotFound")

    def plain(self, seen, doc):
        """Without the Prefer header later members of enumerations are hidden."""
        if doc["messageType"] == "systemEventMessage" and "include-unknown-enum-members" not in (seen.headers.get("Prefer") or ""):
            return {**doc, "messageType": "unknownFutureValue"}
        return doc

    def listing(self, seen, chat, docs, delta=False):
        from tenant import error
        query = dict(seen.query)
        skip = 0
        token = query.get("$skiptoken") or query.get("$deltatoken")
        if token:
            try:
                held = json.loads(base64.urlsafe_b64decode(token))
            except ValueError:
                return error(400, "BadRequest", message="skiptoken")
            query, skip = held["query"], held["skip"]
        top = int(query.get("$top", 20))
        order = query.get("$orderby", "lastModifiedDateTime desc").split()
        if top > 50 and chat or top < 1:
            self.tenant.ledger.append(f"$top={top}")
            return error(400, "BadRequest", message="top")
        if order[0] not in BY or (order[1:] or ["asc"]) != ["desc"]:
            self.tenant.ledger.append(f"$orderby={order}")
            return error(400, "BadRequest", message="orderby")
        bounds = re.findall(r"(lastModifiedDateTime|createdDateTime) (gt|lt) '?([^ ']+)'?", query.get("$filter", ""))
        if query.get("$filter") and not bounds:
            self.tenant.ledger.append(f"$filter={query['$filter']}")
            return error(400, "BadRequest", message="filter")
        with self.tenant.cv:
            self.pages += 1
            number = self.pages
        if self.on_page:
            self.on_page(chat, number)
            if chat is not None:
                docs = [d for d in chat.messages.values() if not (chat.team and d.get("replyToId"))]
        # The rule is that of the messages of one chat; the export of all takes a filter alone.
        ordered = "$orderby" in query or delta or chat is None
        for name, how, when in bounds:
            if ordered and (name == order[0] or delta):
                docs = [d for d in docs if (seconds(d[name]) > seconds(when)) == (how == "gt") and seconds(d[name]) != seconds(when)]
            else:
                self.tenant.ledger.append("a $filter without its $orderby is ignored")
        docs = sorted(docs, key=lambda d: d[order[0]], reverse=True)
        size = min(top, self.page or top)
        if self.blank_first and not token:
            page, rest = [], True
        else:
            page, rest = docs[skip:skip + size], len(docs) > skip + size
        skip += len(page)
        shown = [self.plain(seen, d) for d in page]
        if query.get("$expand") == "replies" and chat is not None and chat.team:
            shown = [{**d, "replies": [self.plain(seen, r) for r in chat.messages.values() if r.get("replyToId") == d["id"]]} for d in shown]
        answer = {"@odata.context": "x", "@odata.count": len(page), "value": shown}
        base = f"{self.foreign or self.tenant.url['graph']}{quote(seen.path)}"
        again = base64.urlsafe_b64encode(json.dumps({"query": query, "skip": skip}).encode()).decode()
        if rest:
            answer["@odata.nextLink"] = f"{base}?$skiptoken={again.replace('=', '%3d')}"
        elif delta:
            answer["@odata.deltaLink"] = f"{base}?$deltatoken={again.replace('=', '%3d')}"
        return Reply(200, answer)
