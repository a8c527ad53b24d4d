//! `/chats` and `/users/{id}/chats` (digest §11, §15).

use serde_json::{Value, json};

use super::super::chat::{Chat, ChatKind, Message};
use super::super::request::{Reply, Request, collection};
use super::super::tenant::{Tenant, escape};
use super::{list, needs};

/// What reads messages of chats.
const READ: &[&str] = &["Chat.Read.All", "Chat.ReadWrite.All", "ChatMessage.Read.Chat"];

pub(super) fn route(
    tenant: &mut Tenant,
    id: &str,
    rest: &[&str],
    request: &Request,
    roles: &[String],
) -> Result<Reply, Reply> {
    if request.method != "GET" {
        return Err(Reply::error(405, "UnsupportedMethod", "The method is not allowed for an application."));
    }
    let c = tenant.chat_by_id(id).filter(|c| !matches!(tenant.chats[*c].kind, ChatKind::Channel { .. }));
    let c = c.ok_or_else(Reply::not_found)?;
    if tenant.chats[c].foreign {
        return Err(Reply::error(403, "Forbidden", "The chat belongs to another tenant."));
    }
    let base = format!("{}/v1.0/$metadata", tenant.urls.base);
    let place = format!("{base}#chats('{}')", escape(&tenant.chats[c].id));
    match rest {
        [] => {
            needs(roles, &["Chat.ReadBasic.All", "Chat.Read.All", "Chat.ReadWrite.All"])?;
            let expand = request.option("expand").is_some_and(|e| e.contains("members"));
            let mut shown = tenant.chat_json(&tenant.chats[c], expand);
            shown["@odata.context"] = json!(format!("{base}#chats/$entity"));
            Ok(Reply::json(200, &shown))
        }
        ["members"] => {
            needs(roles, &["ChatMember.Read.All", "Chat.ReadBasic.All", "Chat.Read.All"])?;
            let members = tenant.members_json(&tenant.chats[c]);
            Ok(collection(format!("{place}/members"), members, None))
        }
        ["messages"] => {
            needs(roles, READ)?;
            list::page(tenant, &[c], |_| true, list::CHAT, request, format!("{place}/messages"))
        }
        ["messages", "delta"] => Err(Reply::error(400, "BadRequest", "Delta is not supported for chats.")),
        ["messages", message, rest @ ..] => {
            needs(roles, READ)?;
            one(tenant, c, message, rest, request, &format!("{place}/messages"))
        }
        _ => Err(Reply::not_found()),
    }
}

/// One message and what is hosted with it.
pub(super) fn one(
    tenant: &mut Tenant,
    c: usize,
    message: &str,
    rest: &[&str],
    request: &Request,
    place: &str,
) -> Result<Reply, Reply> {
    let chat = &tenant.chats[c];
    let m = chat.message(message).ok_or_else(Reply::not_found)?;
    match rest {
        [] => {
            let mut shown = list::shown(tenant, chat, m, request.prefers_unknown());
            let id = chat.id.clone();
            tenant.has_read(&id, &shown);
            shown["@odata.context"] = json!(format!("{place}/$entity"));
            Ok(Reply::json(200, &shown))
        }
        ["hostedContents"] => {
            let all =
                m.hosted.iter().map(|h| json!({ "id": h.id, "contentBytes": null, "contentType": null })).collect();
            Ok(collection(format!("{place}('{message}')/hostedContents"), all, None))
        }
        ["hostedContents", id, rest @ ..] => hosted(m, id, rest, place),
        _ => Err(Reply::not_found()),
    }
}

fn hosted(m: &Message, id: &str, rest: &[&str], place: &str) -> Result<Reply, Reply> {
    let found = m.hosted.iter().find(|h| h.id == id).ok_or_else(Reply::not_found)?;
    match rest {
        [] => Ok(Reply::json(
            200,
            &json!({
                "@odata.context": format!("{place}('{}')/hostedContents/$entity", m.id),
                "id": found.id, "contentBytes": null, "contentType": null,
            }),
        )),
        ["$value"] => Ok(Reply {
            status: 200,
            headers: vec![("content-type", found.media_type.clone())],
            body: found.bytes.clone(),
        }),
        _ => Err(Reply::not_found()),
    }
}

/// `/users/{id}/chats`.
pub(super) fn of_user(
    tenant: &mut Tenant,
    id: &str,
    rest: &[&str],
    request: &Request,
    roles: &[String],
) -> Result<Reply, Reply> {
    let member = tenant.by_oid(id).map(|m| m.id.clone()).ok_or_else(Reply::not_found)?;
    let is_in =
        |chat: &Chat| !matches!(chat.kind, ChatKind::Channel { .. }) && !chat.foreign && chat.members.contains(&member);
    let mine: Vec<usize> = (0..tenant.chats.len()).filter(|c| is_in(&tenant.chats[*c])).collect();
    let base = format!("{}/v1.0/$metadata", tenant.urls.base);
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            needs(roles, &["Chat.ReadBasic.All", "Chat.Read.All", "Chat.ReadWrite.All"])?;
            let expand = request.option("expand").is_some_and(|e| e.contains("members"));
            let shown: Vec<Value> = mine.iter().map(|c| tenant.chat_json(&tenant.chats[*c], expand)).collect();
            Ok(collection(format!("{base}#chats"), shown, None))
        }
        ("GET", ["getAllMessages"]) => {
            needs(roles, &["Chat.Read.All", "Chat.ReadWrite.All"])?;
            list::page(tenant, &mine, |_| true, list::EXPORT, request, format!("{base}#Collection(chatMessage)"))
        }
        _ => Err(Reply::not_found()),
    }
}
