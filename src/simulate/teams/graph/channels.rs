//! `/teams/{id}/channels` (digest §15): lists, delta without replies, replies, export.

use serde_json::{Value, json};

use super::super::chat::{ChatKind, Message};
use super::super::request::{Reply, Request};
use super::super::tenant::{Tenant, escape};
use super::{chats, list, needs};
use crate::model::Timestamp;

pub(super) fn route(
    tenant: &mut Tenant,
    team: &str,
    rest: &[&str],
    request: &Request,
    roles: &[String],
) -> Result<Reply, Reply> {
    if request.method != "GET" {
        return Err(Reply::error(405, "UnsupportedMethod", "The method is not allowed for an application."));
    }
    needs(roles, &["ChannelMessage.Read.All", "ChannelMessage.Read.Group"])?;
    let of_team: Vec<usize> = (0..tenant.chats.len())
        .filter(|c| matches!(&tenant.chats[*c].kind, ChatKind::Channel { team: t } if t.eq_ignore_ascii_case(team)))
        .collect();
    let base = format!("{}/v1.0/$metadata", tenant.urls.base);
    let (id, rest) = match rest {
        ["getAllMessages"] => {
            let context = format!("{base}#Collection(chatMessage)");
            return list::page(tenant, &of_team, |_| true, list::EXPORT, request, context);
        }
        [id, "messages", rest @ ..] => (*id, rest),
        _ => return Err(Reply::not_found()),
    };
    let c = of_team.into_iter().find(|c| tenant.chats[*c].id.eq_ignore_ascii_case(id)).ok_or_else(Reply::not_found)?;
    let place = format!("{base}#teams('{team}')/channels('{}')/messages", escape(&tenant.chats[c].id));
    match rest {
        [] => list::page(tenant, &[c], |m| m.reply_to.is_none(), list::CHANNEL, request, place),
        ["delta"] => delta(tenant, c, request, &base),
        [root, "replies"] => {
            let root = (*root).to_owned();
            list::page(tenant, &[c], |m| m.reply_to.as_ref() == Some(&root), list::CHANNEL, request, place)
        }
        [_, "replies", reply, rest @ ..] => chats::one(tenant, c, reply, rest, request, &place),
        [message, rest @ ..] => chats::one(tenant, c, message, rest, request, &place),
    }
}

/// Root messages that changed since the last delta; the tokens are opaque to others and hold a moment and a place.
fn delta(tenant: &mut Tenant, c: usize, request: &Request, base: &str) -> Result<Reply, Reply> {
    let bad = |what: &str| Reply::error(400, "BadRequest", what);
    let token = request.option("deltatoken").or_else(|| request.option("skiptoken"));
    let top = request.option("top").and_then(|t| t.parse().ok()).unwrap_or(20).clamp(1, 50);
    let (since, skip): (i64, usize) = match (token, request.option("filter")) {
        (Some(token), _) => {
            let (since, skip) = token.split_once('.').ok_or_else(|| bad("The token is not valid."))?;
            let number = |_| bad("The token is not valid.");
            (since.parse().map_err(number)?, skip.parse().map_err(|_| bad("The token is not valid."))?)
        }
        (None, Some(filter)) => {
            let moment = filter.strip_prefix("lastModifiedDateTime gt ").and_then(Timestamp::parse_rfc3339);
            (moment.ok_or_else(|| bad("Invalid filter clause."))?.millis(), 0)
        }
        (None, None) => (i64::MIN, 0),
    };
    let chat = &tenant.chats[c];
    let mut found: Vec<&Message> =
        chat.messages.iter().filter(|m| m.reply_to.is_none() && m.modified > since).collect();
    found.sort_by_key(|m| m.modified);
    let latest = found.last().map_or(since.max(0), |m| m.modified);
    let more = found.len() > skip + top;
    let known = request.prefers_unknown();
    let shown: Vec<Value> =
        found.into_iter().skip(skip).take(top).map(|m| list::shown(tenant, chat, m, known)).collect();
    let id = chat.id.clone();
    for message in &shown {
        tenant.has_read(&id, message);
    }
    let path = request.raw.split('?').next().unwrap_or_default();
    let (name, link) = if more {
        ("@odata.nextLink", format!("{path}?$top={top}&$skiptoken={since}.{}", skip + top))
    } else {
        ("@odata.deltaLink", format!("{path}?$top={top}&$deltatoken={latest}.0"))
    };
    let mut body = json!({ "@odata.context": format!("{base}#Collection(chatMessage)"), "value": shown });
    body[name] = json!(format!("{}{link}", tenant.urls.base));
    Ok(Reply::json(200, &body))
}
