"""Reads everything the simulated Graph answers with Microsoft's SDK: what the SDK does not know stands in `additional_data`,
and there must be nothing. Arguments: JSON with base, token, chat, call, user, message, team, channel, join_url, notify.
Prints what was read; exits 1 with the findings."""
import asyncio
import datetime
import json
import os
import sys
import urllib.parse

from kiota_abstractions.authentication import AccessTokenProvider, AllowedHostsValidator, BaseBearerTokenAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.chats.item.messages.messages_request_builder import MessagesRequestBuilder
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.subscription import Subscription
from msgraph_core.tasks import PageIterator

# Undeclared members that Graph itself sends on these open types.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
KNOWN = {"tenantId", "identityProvider", "phone", "applicationInstance", "guest", "encrypted"}
findings, read = [], []


class Bearer(AccessTokenProvider):
    def __init__(self, token):
        self.token = token

    async def get_authorization_token(self, uri, additional_authentication_context={}):
        return self.token

    def get_allowed_hosts_validator(self):
        return AllowedHostsValidator([])


def walk(value, place, seen):
    if isinstance(value, (str, bytes, int, float, bool, type(None), datetime.date, datetime.timedelta)) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, list):
        for inner in value:
            walk(inner, place + "[]", seen)
    elif hasattr(value, "__dict__"):
        for name, inner in list(vars(value).items()):
            if name == "additional_data":
                extra = [k for k in inner if not k.startswith("@") and k not in KNOWN]
                if extra:
                    findings.append(f"{place} ({type(value).__name__}): {extra}")
            elif name == "backing_store":
                for key, stored in list(value.backing_store.enumerate_()):
                    if key == "additional_data":
                        extra = [k for k in (stored or {}) if not k.startswith("@") and k not in KNOWN]
                        if extra:
                            findings.append(f"{place} ({type(value).__name__}): {extra}")
                    else:
                        walk(stored, f"{place}.{key}", seen)
            else:
                walk(inner, f"{place}.{name}", seen)


def look(place, value):
    assert value is not None, place
    read.append(place)
    walk(value, place, set())
    return value


async def main(a):
    adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(Bearer(a["token"])))
    adapter.base_url = a["base"] + "/v1.0"
    g = GraphServiceClient(request_adapter=adapter)
    chat = g.chats.by_chat_id(a["chat"])
    look("chat", await chat.get())
    look("members", await chat.members.get())
    parameters = MessagesRequestBuilder.MessagesRequestBuilderGetQueryParameters(top=2, orderby=["lastModifiedDateTime desc"])
    configuration = RequestConfiguration(query_parameters=parameters)
    configuration.headers.add("Prefer", "include-unknown-enum-members")
    page = look("messages", await chat.messages.get(request_configuration=configuration))
    ids = []
    iterator = PageIterator(page, adapter)
    iterator.headers = configuration.headers
    await iterator.iterate(lambda m: (ids.append(m.id), look("message of a page", m), True)[2])
    assert len(ids) == len(set(ids)) > 2, ids
    message = chat.messages.by_chat_message_id(a["message"])
    look("message", await message.get())
    hosted = look("hostedContents", await message.hosted_contents.get())
    look("hostedContent", await message.hosted_contents.by_chat_message_hosted_content_id(hosted.value[0].id).get())
    content = await message.hosted_contents.by_chat_message_hosted_content_id(hosted.value[0].id).content.get()
    assert content == b"png", content
    user = g.users.by_user_id(a["user"])
    look("chats of a user", await user.chats.get())
    look("export", await user.chats.get_all_messages.get())
    channel = g.teams.by_team_id(a["team"]).channels.by_channel_id(a["channel"])
    root = look("channel messages", await channel.messages.get()).value[0]
    look("delta", await channel.messages.delta.get())
    look("replies", await channel.messages.by_chat_message_id(root.id).replies.get())
    call = g.communications.calls.by_call_id(a["call"])
    shown = look("call", await call.get())
    assert shown.state.value == "established", shown.state
    assert len(look("participants", await call.participants.get()).value) > 2
    look("sharing", await call.content_sharing_sessions.get())
    await call.keep_alive.post()
    quoted = urllib.parse.quote(a["join_url"], safe="")
    meetings = await user.online_meetings.with_url(
        f"{a['base']}/v1.0/users/{a['user']}/onlineMeetings?$filter=JoinWebUrl%20eq%20'{quoted}'").get()
    assert look("meetings", meetings).value[0].chat_info.thread_id == a["chat"]
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=50)
    made = look("subscription", await g.subscriptions.post(Subscription(
        change_type="created", notification_url=a["notify"], resource=f"/chats/{a['chat']}/messages",
        expiration_date_time=until, client_state="s")))
    assert made.resource == f"/chats/{a['chat']}/messages"
    longer = until + datetime.timedelta(minutes=5)
    changed = await g.subscriptions.by_subscription_id(made.id).patch(Subscription(expiration_date_time=longer))
    assert abs(look("renewed", changed).expiration_date_time - longer) < datetime.timedelta(seconds=1)
    look("subscriptions", await g.subscriptions.get())
    await g.subscriptions.by_subscription_id(made.id).delete()
    try:
        await g.subscriptions.by_subscription_id(made.id).get()
        findings.append("a deleted subscription is still there")
    except ODataError as e:
        assert e.response_status_code == 404 and e.error.code == "ResourceNotFound", e
        assert not [k for k in (e.additional_data or {}) if not k.startswith("@")], e.additional_data


asyncio.run(main(json.loads(sys.argv[1])))
print("read:", ", ".join(dict.fromkeys(read)))
if findings:
    print("\n".join(sorted(set(findings))))
    sys.exit(1)
