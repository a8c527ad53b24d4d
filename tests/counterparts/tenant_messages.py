"""Messages and their versions, encrypted or fetched; what stands in them; system messages."""

import base64
import hashlib
import json
import os

from recorder_run import of, settings, texts
from tenant import TENANT, error
from tenant_chats import user
from tenant_run import ago, fixture
from tenant_send import ALICE, BOB, CAROL, pid
from tenant_subscriptions import ALL, GROUP, group, said, subscribed

OTHER = "19:0ae61fd5f7f44791baddce0988e71bf3@thread.v2"
TEAM, CHANNEL = "fbe2bf47-16c8-47cf-b4a5-4b9b187c508b", "19:4a95f7d8db4c4e7fae857bcebe0623e6@thread.tacv2"
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def listening(run, **over):
    """A group chat, and a recorder that has subscribed."""
    chat = group(run, **over)
    run.start()
    subscribed(run)
    return chat


def done(run):
    run.stop()
    return run.archive()


def versions(events):
    """(kind, text) of the message events in order."""
    return [(e["kind"].split(".")[1], e["message"].get("text", "")) for e in of(events, "message.sent", "message.edited", "message.deleted")]


@settings(keys=ALL)
def a_message_as_it_was(run):
    chat = listening(run, topic="Budget")
    doc = run.tenant.chats.say(chat, ALICE, html="<p>Grüße &amp; <b>mehr</b></p>", importance="urgent", subject="Betreff")
    run.service.tell(chat, doc)
    run.until("it", texts)
    events, rows = done(run)
    sent = of(events, "message.sent")[0]
    run.equal((sent["message"]["id"], sent.get("source_time"), sent["message"].get("importance")), (doc["id"], doc["createdDateTime"], "urgent"), "id, time, importance")
    run.equal((sent["actor"]["id"], sent["actor"]["name"]), (pid(ALICE), ALICE[1]), "actor")
    run.equal(sent["message"]["text"].strip(), "Grüße & mehr", "readable text")
    run.check("<b>mehr</b>" in sent["message"].get("html", ""), f"html is kept: {sent['message'].get('html')}")
    run.equal([(r["messages"], r["state"]) for r in rows], [(1, "live")], "the row")


@settings(keys=ALL)
def edited_deleted_and_restored(run):
    """Every version is an event; earlier texts stay."""
    chat = listening(run)
    chats, tell = run.tenant.chats, lambda key, kind="updated": run.service.tell(chat, chat.messages[key], kind)
    key = said(run, chat, "first")["id"]
    chats.edit(chat, key, "second"), tell(key)
    chats.edit(chat, key, "third"), tell(key)
    chats.delete(chat, key), tell(key, "deleted")
    run.until("the deletion", lambda e: of(e, "message.deleted"))
    chats.undelete(chat, key, "third"), tell(key)
    run.until("the restoration", lambda e: len(of(e, "message.edited")) == 3)
    chats.delete(chat, key), tell(key, "deleted")
    run.until("the second deletion", lambda e: len(of(e, "message.deleted")) == 2)
    events, rows = done(run)
    run.equal([k for k, _ in versions(events)], ["sent", "edited", "edited", "deleted", "edited", "deleted"], "versions")
    run.equal([t for k, t in versions(events) if k != "deleted"], ["first", "second", "third", "third"], "texts")
    run.equal({e["message"]["id"] for e in of(events, "message.sent", "message.edited", "message.deleted")}, {key}, "message.id = Graph id")
    run.equal(rows[0]["messages"], 1, "one message")


@settings(keys=ALL)
def versions_out_of_order(run):
    """An edit that overtakes the first version; everything delivered twice, as created and updated."""
    chat = listening(run)
    chats = run.tenant.chats
    first = chats.say(chat, ALICE, "first")
    second = chats.edit(chat, first["id"], "second")
    third = chats.edit(chat, first["id"], "third")
    one = subscribed(run)[0]
    for doc, kind in ((second, "updated"), (first, "created"), (second, "updated"), (third, "updated"), (third, "created"), (first, "created")):
        run.service.changes([run.service.item(one, chat, doc, kind)])
    run.until("three versions", lambda e: {t for _, t in versions(e)} >= {"first", "second", "third"})
    events, rows = done(run)
    run.equal(sorted(t for _, t in versions(events)), ["first", "second", "third"], "each version once")
    run.equal(len(of(events, "message.sent")), 1, "sent once")
    run.equal(rows[0]["messages"], 1, "one message")
    status, out, _ = run.cli("show", rows[0]["id"])
    run.check(status == 0 and "third" in out, "the transcript shows the last version")


@settings(keys=ALL)
def one_body_with_many_items(run):
    chat = listening(run)
    one = subscribed(run)[0]
    docs = [run.tenant.chats.say(chat, ALICE, f"text {n}") for n in range(40)]
    answer = run.service.changes([run.service.item(one, chat, d) for d in docs + docs[:5]])
    run.equal((answer.status, answer.seconds < 3), (202, True), "taken within 3 s")
    run.until("all", lambda e: len(texts(e)) == 40)
    events, _ = done(run)
    run.equal(texts(events), [f"text {n}" for n in range(40)], "in order, once")
    run.equal([e["kind"] for e in of(events, "conversation.started", "message.sent")], ["conversation.started"] + ["message.sent"] * 40, "started once, before the first of them")


@settings(keys=ALL)
def ids_repeat_across_chats(run):
    """A message id is unique within one chat only."""
    chat = listening(run)
    other = group(run, OTHER)
    for c, text in ((chat, "here"), (other, "there")):
        doc = run.tenant.chats.say(c, ALICE, text, at=1759944781430)
        run.service.tell(c, doc)
    run.until("both", lambda e: len(texts(e)) == 2)
    events, rows = done(run)
    run.equal((sorted(texts(events)), len(rows)), (["here", "there"], 2), "two messages in two conversations")
    for row in rows:
        mine = [e["kind"] for e in events if e.get("conversation") == row["id"]]
        run.equal([k for k in mine if k in ("conversation.started", "message.sent")], ["conversation.started", "message.sent"], "a chat that only a subscription names starts once, before its first message")


@settings(keys=ALL)
def reactions(run):
    """Added and removed, with who reacted; they are no edits."""
    chat = listening(run)
    key = said(run, chat, "react to me")["id"]
    for who, kind, add in ((BOB, "like", True), (CAROL, "heart", True), (ALICE, "like", True), (BOB, "like", False)):
        doc = run.tenant.chats.react(chat, key, who, kind, add)
        run.service.tell(chat, doc, "updated")
    run.until("the removal", lambda e: of(e, "reaction.removed"))
    run.service.tell(chat, chat.messages[key], "updated")
    events, _ = done(run)
    show = lambda kind: [(e["actor"]["id"], e.get("reaction")) for e in of(events, kind)]
    run.equal(show("reaction.added"), [(pid(BOB), "like"), (pid(CAROL), "heart"), (pid(ALICE), "like")], "added")
    run.equal(show("reaction.removed"), [(pid(BOB), "like")], "removed")
    run.equal({e["message"]["id"] for e in of(events, "reaction.added", "reaction.removed")}, {key}, "to that message")
    run.equal(of(events, "message.edited"), [], "no edit")


@settings(keys=ALL)
def reactions_that_came_and_went_unseen(run):
    """Only messageHistory tells of them; a message that is first seen late brings its reactions along."""
    chat = listening(run)
    key = said(run, chat, "react to me")["id"]
    run.tenant.chats.react(chat, key, CAROL, "heart")
    run.service.tell(chat, run.tenant.chats.react(chat, key, CAROL, "heart", False), "updated")
    run.until("both", lambda e: of(e, "reaction.removed"))
    late = run.tenant.chats.say(chat, ALICE, "seen late")["id"]
    run.tenant.chats.edit(chat, late, "seen late, edited")
    run.service.tell(chat, run.tenant.chats.react(chat, late, BOB, "like"), "updated")
    run.until("the late one", lambda e: late in [x["message"]["id"] for x in of(e, "reaction.added")])
    events, _ = done(run)
    show = lambda kind: [(e["actor"]["id"], e.get("reaction"), e["message"]["id"]) for e in of(events, kind)]
    run.equal(show("reaction.added"), [(pid(CAROL), "heart", key), (pid(BOB), "like", late)], "added")
    run.equal(show("reaction.removed"), [(pid(CAROL), "heart", key)], "removed")
    run.check("seen late, edited" in texts(events) + texts(events, "message.edited"), "the text of what was seen late")


@settings(keys=ALL)
def edit_and_reaction_at_once(run):
    chat = listening(run)
    key = said(run, chat, "one")["id"]
    run.tenant.chats.react(chat, key, BOB, "like")
    doc = run.tenant.chats.edit(chat, key, "two")
    run.service.tell(chat, doc, "updated")
    run.until("both", lambda e: of(e, "message.edited") and of(e, "reaction.added"))
    events, _ = done(run)
    run.equal((texts(events, "message.edited"), len(of(events, "reaction.added"))), (["two"], 1), "edit and reaction")


@settings(keys=ALL)
def a_policy_violation_is_a_version(run):
    chat = listening(run)
    key = said(run, chat, "4111 1111 1111 1111")["id"]
    doc = run.tenant.chats.change(chat, key, policyViolation={"dlpAction": "notifySender,blockAccess", "justificationText": None, "userAction": "none", "verdictDetails": "none",
                                                              "policyTip": {"generalText": "This item contains a card number", "complianceUrl": "x", "matchedConditionDescriptions": ["Credit Card Number"]}})
    run.service.tell(chat, doc, "updated")
    run.until("the block", lambda e: "blockAccess" in json.dumps(e))
    events, _ = done(run)
    run.equal(texts(events), ["4111 1111 1111 1111"], "the text stays")


@settings(keys=ALL)
def images_are_fetched_and_kept(run):
    """Hosted content is stored by hash, below the archive's attachments."""
    chat = listening(run)
    chat.files["aWQ9eF8w"] = ("image/png", PNG)
    at = run.tenant.chats.now()
    where = f"{run.tenant.url['graph']}/v1.0/chats/{GROUP}/messages/{at}/hostedContents/aWQ9eF8w/$value"
    doc = run.tenant.chats.say(chat, ALICE, html=f'<p>look</p><img src="{where}" width="1"><img src="{run.tenant.url["stranger"]}/x.png">', at=at)
    run.service.tell(chat, doc)
    digest = hashlib.sha256(PNG).hexdigest()
    run.until("the image", lambda e: digest in json.dumps(e))
    events, _ = done(run)
    found = [a for e in of(events, "message.sent") for a in e["message"].get("attachments", []) if a.get("sha256") == digest]
    run.check(found and found[0].get("media_type") == "image/png" and found[0].get("size") == len(PNG), f"attachment with media type and size: {found}")
    held = [name for folder, _, names in os.walk(run.path("archive", "attachments")) for name in names if hashlib.sha256(open(os.path.join(folder, name), "rb").read()).hexdigest() == digest]
    run.check(held, "the bytes are under the archive's attachments")
    run.equal(run.tenant.requests(origin="stranger"), [], "nothing is fetched from elsewhere")


@settings(keys=ALL)
def an_image_that_cannot_be_fetched(run):
    chat = listening(run)
    at = run.tenant.chats.now()
    doc = run.tenant.chats.say(chat, ALICE, html=f'<img src="{run.tenant.url["graph"]}/v1.0/chats/{GROUP}/messages/{at}/hostedContents/gone/$value">', at=at)
    run.service.tell(chat, doc)
    run.until("the message", lambda e: of(e, "message.sent"))
    events, _ = done(run)
    run.check("hostedContents/gone" in json.dumps(events) or any(e["message"].get("attachments") for e in of(events, "message.sent")), "a placeholder says what is missing")


@settings(keys=ALL)
def files_quotes_cards_and_mentions(run):
    """Files are placeholders, quotes and cards are readable and found by search, mentions are named."""
    chat = listening(run)
    quoted = said(run, chat, "the original")
    card = json.dumps({"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlock", "text": "Zebrastreifen quarterly"}, {"type": "FactSet", "facts": [{"title": "Owner", "value": "Okapi"}]}]})
    reference = json.dumps({"messageId": quoted["id"], "messagePreview": "the original", "messageSender": {"user": {"id": ALICE[0], "displayName": ALICE[1]}}})
    doc = run.tenant.chats.say(chat, BOB, html='<attachment id="q1"></attachment><p>I agree <at id="0">Alice Ångström</at> and <at id="1">Support</at></p><attachment id="f1"></attachment><attachment id="c1"></attachment>',
                               attachments=[{"id": "q1", "contentType": "messageReference", "content": reference, "contentUrl": None, "name": None, "thumbnailUrl": None},
                                            {"id": "f1", "contentType": "reference", "content": None, "contentUrl": "https://contoso.sharepoint.com/sites/x/Budget.docx", "name": "Budget.docx", "thumbnailUrl": None},
                                            {"id": "c1", "contentType": "application/vnd.microsoft.card.adaptive", "content": card, "contentUrl": None, "name": None, "thumbnailUrl": None}],
                               mentions=[{"id": 0, "mentionText": "Alice Ångström", "mentioned": user(ALICE)},
                                         {"id": 1, "mentionText": "Support", "mentioned": {"user": None, "conversation": None, "application": None, "tag": {"id": "MjQzMmI1", "displayName": "Support"}}}])
    run.service.tell(chat, doc)
    run.until("both", lambda e: len(texts(e)) == 2)
    for word in ("Zebrastreifen", "Okapi"):
        end = run.until(f"{word} in the index", lambda _: run.lines("search", word, "--json"))
        run.check(end, word)
    run.check(run.lines("search", "has:attachment", "--json"), "has:attachment finds it")
    events, _ = done(run)
    sent = of(events, "message.sent")[1]["message"]
    run.equal([(m["id"], m["name"]) for m in sent.get("mentions", [])][:1], [(pid(ALICE), "Alice Ångström")], "mentions")
    run.equal([m["name"] for m in sent.get("mentions", [])], ["Alice Ångström", "Support"], "tags, too")
    run.equal(sent.get("in_reply_to"), quoted["id"], "in_reply_to the quoted message")
    files = [a for a in sent.get("attachments", []) if a.get("name") == "Budget.docx"]
    run.equal([(a.get("url"), a.get("sha256")) for a in files], [("https://contoso.sharepoint.com/sites/x/Budget.docx", None)], "the file is a placeholder")
    kept = {a["id"]: a for a in of(events, "message.sent")[1]["detail"]["attachments"]}
    run.equal([(kept[k]["contentType"], json.loads(kept[k]["content"])) for k in ("c1", "q1")],
              [("application/vnd.microsoft.card.adaptive", json.loads(card)), ("messageReference", json.loads(reference))], "the JSON of card and quote is kept whole")
    for word in ("I agree", "Zebrastreifen"):
        run.check(word in sent["text"] or word in json.dumps(sent, ensure_ascii=False), f"{word} is readable")


@settings(keys={"chat_scopes": [f"/teams/{TEAM}/channels/{CHANNEL}/messages"]})
def a_channel_and_its_replies(run):
    channel = run.tenant.chats.add(CHANNEL, "channel", team=TEAM, topic="General")
    root = run.tenant.chats.say(channel, ALICE, "old root", at=ago(7200))
    run.tenant.chats.say(channel, BOB, "old reply", at=ago(7100), replyToId=root["id"])
    run.start()
    subscribed(run)
    run.until("the backfill with its replies", lambda e: sorted(texts(e)) == ["old reply", "old root"])
    doc = run.tenant.chats.say(channel, CAROL, "new reply", replyToId=root["id"])
    run.service.tell(channel, doc)
    run.until("the reply", lambda e: len(texts(e)) == 3)
    events, rows = done(run)
    run.equal(sorted(texts(events)), ["new reply", "old reply", "old root"], "root and replies")
    run.equal([e["message"].get("in_reply_to") for e in of(events, "message.sent") if e["message"]["text"] == "new reply"], [root["id"]], "in_reply_to")
    run.equal(len(rows), 1, "one conversation")


@settings(keys={"chat_scopes": [f"/teams/{TEAM}/channels/{CHANNEL}/messages"], "reconcile_seconds": 3})
def a_reply_that_was_never_told(run):
    channel = run.tenant.chats.add(CHANNEL, "channel", team=TEAM, topic="General")
    root = run.tenant.chats.say(channel, ALICE, "root", at=ago(7200))
    run.start()
    subscribed(run)
    run.until("the backfill", lambda e: texts(e) == ["root"])
    reply = run.tenant.chats.say(channel, BOB, "never told", replyToId=root["id"])
    run.until("the reply", lambda e: "never told" in texts(e), 30)
    run.tenant.chats.edit(channel, reply["id"], "edited in silence")
    run.until("the edit", lambda e: texts(e, "message.edited") == ["edited in silence"], 30)
    run.tenant.chats.delete(channel, root["id"])
    run.service.tell(channel, channel.messages[root["id"]], "deleted")
    run.until("the deletion", lambda e: of(e, "message.deleted"))
    done(run)


@settings(keys=ALL)
def senders_of_all_sorts(run):
    """Applications, guests with 32 digits, nobody at all, no display name."""
    chat = listening(run)
    senders = [{"application": {"id": "app-1", "displayName": "Flow", "applicationIdentityType": "bot"}, "user": None, "device": None}, user(("1fb8890f423e41548fbfdb6809bc8756", None), kind="anonymousGuest"), None,
               {"user": {"id": BOB[0].upper(), "displayName": None, "userIdentityType": "federatedUser", "tenantId": "932899F8-2EA1-4604-8413-27BD2892079F"}}, {}]
    for n, sender in enumerate(senders):
        doc = run.tenant.chats.say(chat, None, f"from {n}", **{"from": sender})
        run.service.tell(chat, doc)
    run.until("all", lambda e: len(texts(e)) == len(senders))
    events, _ = done(run)
    actors = {e["message"]["text"]: e.get("actor", {}).get("id") for e in of(events, "message.sent")}
    run.equal((actors["from 0"], actors["from 3"]), ("application:app-1", pid(BOB, "932899f8-2ea1-4604-8413-27bd2892079f")), "ids")
    run.check("1fb8890f423e41548fbfdb6809bc8756" in (actors["from 1"] or ""), f"the guest: {actors['from 1']}")


@settings(keys=ALL)
def times_as_they_come(run):
    """0 to 7 digits of fraction, no T, no time at all, unreadable: never lost."""
    chat = listening(run)
    times = ["2021-03-17T06:47:05Z", "2021-03-17T06:47:05.1234567Z", "2021-03-1706:47:05.123Z", "not a time", None, "0001-01-01T00:00:00Z"]
    one = subscribed(run)[0]
    for n, at in enumerate(times):
        doc = run.tenant.chats.say(chat, ALICE, f"time {n}", createdDateTime=at)
        run.service.changes([run.service.item(one, chat, doc)])
    run.until("all", lambda e: len(texts(e)) == len(times))
    events, _ = done(run)
    got = {e["message"]["text"]: e.get("source_time") for e in of(events, "message.sent")}
    run.equal((got["time 0"], got["time 1"]), ("2021-03-17T06:47:05.000Z", "2021-03-17T06:47:05.123Z"), "source_time from the message")


@settings(keys=ALL)
def hostile_bodies(run):
    """HTML, scripts, markers and control characters are archived, shown harmlessly, and break nothing."""
    chat = listening(run)
    bodies = ["<script>alert(1)</script>x", "<" * 5000, "<div>" * 3000 + "deep", "a\u0000b\u202ec", "", "<attachment id=\"none\"></attachment>", "\ud7ff\ufffe𝔘🏳️‍🌈"]
    one = subscribed(run)[0]
    for n, body in enumerate(bodies):
        doc = run.tenant.chats.say(chat, ALICE, html=body)
        run.service.changes([run.service.item(one, chat, doc)])
    for odd in ({"body": None}, {"attachments": None, "mentions": None, "reactions": None}, {"reactions": [None, {}, {"user": None}]}, {"attachments": [{}, {"content": "{"}]}, {"mentions": [{"mentioned": None}]},
                {"messageType": "somethingNew"}, {"eventDetail": {}}, {"policyViolation": {"dlpAction": 7}}, {"importance": 3}, {"someNewMember": {"a": [1]}}):
        doc = run.tenant.chats.say(chat, ALICE, f"odd {list(odd)[0]}", **odd)
        run.service.changes([run.service.item(one, chat, doc)])
    said(run, chat, "last")
    run.until("the last", lambda e: "last" in texts(e))
    events, rows = done(run)
    run.check(len({(e.get("message") or {}).get("id") for e in events if e.get("message")}) == len(bodies) + 11, "every message left an event")
    for e in events:
        run.check("<script" not in e.get("message", {}).get("html", "").lower(), "html is sanitised")


@settings(keys=ALL)
def system_messages_of_every_kind(run):
    """The documents' samples and the rest of the 31 kinds; members come and go, the chat is renamed, the others are kept."""
    chat = listening(run)
    one = subscribed(run)[0]
    kinds = """callStarted callEnded callRecording callTranscript meetingPolicyUpdated conversationMemberRoleUpdated messagePinned messageUnpinned tabUpdated teamsAppInstalled teamsAppRemoved
        teamsAppUpgraded channelAdded channelDeleted channelRenamed channelDescriptionUpdated channelSetAsFavoriteByDefault channelUnsetAsFavoriteByDefault teamCreated teamRenamed teamDescriptionUpdated
        teamArchived teamUnarchived teamJoiningEnabled teamJoiningDisabled channelSharingUpdated somethingNobodyKnows""".split()
    initiator = user(ALICE)
    for kind in kinds:
        try:
            detail = fixture("system-" + kind)["eventDetail"]
        except FileNotFoundError:
            detail = {"@odata.type": f"#microsoft.graph.{kind}EventMessageDetail", "initiator": initiator, "x": kind}
        run.service.changes([run.service.item(one, chat, run.tenant.chats.system(chat, detail))])
    members = lambda *who: [{"id": w[0], "displayName": w[1], "userIdentityType": "aadUser", "tenantId": TENANT} for w in who]
    for kind, who in (("membersAdded", (BOB, CAROL)), ("membersDeleted", (BOB,)), ("membersJoined", (BOB,)), ("membersLeft", (CAROL,))):
        detail = {"@odata.type": f"#microsoft.graph.{kind}EventMessageDetail", "initiator": initiator, "members": members(*who)}
        hidden = {"messageType": "unknownFutureValue"} if kind == "membersJoined" else {}
        run.service.changes([run.service.item(one, chat, run.tenant.chats.system(chat, detail, **hidden))])
    renamed = {"@odata.type": "#Microsoft.Graph.chatRenamedEventMessageDetail", "chatId": chat.id, "chatDisplayName": "New name", "initiator": initiator}
    last = run.tenant.chats.system(chat, renamed)
    run.service.changes([run.service.item(one, chat, last)])
    run.until("the new name", lambda e: any(x.get("subject") == "New name" for x in of(e, "conversation.changed")))
    events, rows = done(run)
    show = lambda kind: [(e["participant"]["id"], e.get("actor", {}).get("id")) for e in of(events, kind)]
    run.equal(show("participant.joined"), [(pid(BOB), pid(ALICE)), (pid(CAROL), pid(ALICE)), (pid(BOB), pid(ALICE))], "joined, actor = initiator")
    run.equal(show("participant.left"), [(pid(BOB), pid(ALICE)), (pid(CAROL), pid(ALICE))], "left")
    run.check(all(e.get("message", {}).get("id") for e in of(events, "participant.joined", "participant.left", "conversation.changed")), "all with message.id")
    others = of(events, "platform.event")
    run.equal(len([e for e in others if e.get("message", {}).get("id")]), len(kinds), "the others are platform events with message.id")
    for kind in kinds:
        run.check(kind.lower() in json.dumps([e.get("detail") for e in others]).lower(), f"{kind} is kept in detail")
    run.equal((of(events, "message.sent"), rows[0].get("subject")), ([], "New name"), "no messages; the subject")


# ---- what cannot be read


@settings(keys=ALL)
def undecryptable_is_fetched(run):
    """Tampered data, signature or key, an unknown certificate: the message is fetched by its address and marked."""
    chat = listening(run)
    one = subscribed(run)[0]
    flip = lambda text: base64.b64encode(bytes([base64.b64decode(text)[0] ^ 1]) + base64.b64decode(text)[1:]).decode()
    spoils = [lambda c: c.update(data=flip(c["data"])), lambda c: c.update(dataSignature=flip(c["dataSignature"])), lambda c: c.update(dataKey=flip(c["dataKey"])), lambda c: c.update(encryptionCertificateId="unknown"),
              lambda c: c.update(data="%%%"), lambda c: c.update(dataKey=None), lambda c: c.clear()]
    for n, spoil in enumerate(spoils):
        doc = run.tenant.chats.say(chat, ALICE, f"spoilt {n}")
        item = run.service.item(one, chat, doc)
        spoil(item["encryptedContent"])
        run.equal(run.service.changes([item]).status, 202, f"spoilt {n}: 202")
    run.until("all", lambda e: len(texts(e)) == len(spoils))
    events, _ = done(run)
    run.equal((texts(events), of(events, "capture.gap")), ([f"spoilt {n}" for n in range(len(spoils))], []), "fetched; no gap")
    run.check("fetched" in json.dumps(of(events, "message.sent")), "marked as fetched")


@settings(keys=ALL)
def undecryptable_and_not_to_be_fetched(run):
    chat = listening(run)
    one = subscribed(run)[0]
    said(run, chat, "good")
    run.until("good", texts)
    doc = run.tenant.chats.say(chat, ALICE, "bad")
    item = run.service.item(one, chat, doc)
    item["encryptedContent"]["dataSignature"] = item["encryptedContent"]["data"][:44]
    for _ in range(12):
        run.tenant.fault("GET", f".*/messages/{doc['id']}", error(404, "NotFound"))
    del chat.messages[doc["id"]]
    run.service.changes([item])
    run.until("the gap", lambda e: of(e, "capture.gap"), 40)
    events, rows = done(run)
    run.equal(of(events, "capture.gap")[0].get("conversation"), of(events, "message.sent")[0]["conversation"], "in the conversation concerned")
    run.equal((texts(events), rows[0]["coverage"]), (["good"], "incomplete"), "said so")


@settings(keys=ALL)
def odd_envelopes(run):
    """Without `value`; with more members; the id differs between resource and @odata.id; deleted without content."""
    chat = listening(run)
    one = subscribed(run)[0]
    doc = run.tenant.chats.say(chat, ALICE, "bare")
    item = dict(run.service.item(one, chat, doc), validationTokens=[run.service.validation_token()])
    run.equal(run.service.changes(json.dumps(item).encode()).status, 202, "one sample comes without the envelope")
    doc = run.tenant.chats.say(chat, ALICE, "named by @odata.id")
    item = run.service.item(one, chat, doc, resource=f"chats('{GROUP}')/messages('1')", organizationId="x", encryptedContent=None)
    run.service.changes([{k: v for k, v in item.items() if v is not None}])
    run.until("the second", lambda e: "named by @odata.id" in texts(e))
    events, _ = done(run)
    run.check("bare" in texts(events), "and the bare one")


SCENARIOS = (a_message_as_it_was, edited_deleted_and_restored, versions_out_of_order, one_body_with_many_items, ids_repeat_across_chats, reactions, reactions_that_came_and_went_unseen, edit_and_reaction_at_once,
             a_policy_violation_is_a_version, images_are_fetched_and_kept, an_image_that_cannot_be_fetched, files_quotes_cards_and_mentions, a_channel_and_its_replies, a_reply_that_was_never_told, senders_of_all_sorts,
             times_as_they_come, hostile_bodies, system_messages_of_every_kind, undecryptable_is_fetched, undecryptable_and_not_to_be_fetched, odd_envelopes)
