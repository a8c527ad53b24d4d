//! Graph: which resource a path names, what it costs and what permission it takes.

mod calls;
mod channels;
mod chats;
mod list;
mod meetings;
mod subscriptions;

use super::budget::Budget;
use super::request::{Reply, Request};
use super::server::Answer;
use super::tenant::Tenant;

/// The budgets that a request draws on (digest §18).
pub(super) fn budgets(method: &str, path: &[&str]) -> Vec<Budget> {
    if method != "GET" {
        return vec![Budget::Other];
    }
    let one = |id: &str| Budget::One(id.to_ascii_lowercase());
    match path {
        [.., "getAllMessages"] => vec![Budget::Export],
        ["chats", id, "messages", ..] => vec![Budget::ChatMessages, one(id)],
        ["chats", id, ..] => vec![Budget::OtherGet, one(id)],
        ["teams", team, "channels", id, "messages", ..] => vec![Budget::ChannelMessages, one(team), one(id)],
        _ => vec![Budget::OtherGet],
    }
}

/// Whether the token has one of these roles.
pub(super) fn needs(roles: &[String], any: &[&str]) -> Result<(), Reply> {
    if roles.iter().any(|r| any.contains(&r.as_str())) { Ok(()) } else { Err(Reply::forbidden(&any.join(", "))) }
}

/// Answers a request to Graph whose token is good.
pub(super) fn route(tenant: &mut Tenant, path: &[&str], request: &Request, roles: &[String]) -> Answer {
    let answered = match path {
        ["communications" | "app", "calls", id, rest @ ..] => calls::route(tenant, id, rest, request, roles),
        ["subscriptions", rest @ ..] => return subscriptions::route(tenant, rest, request, roles),
        ["chats", id, rest @ ..] => chats::route(tenant, id, rest, request, roles),
        ["users", id, "chats", rest @ ..] => chats::of_user(tenant, id, rest, request, roles),
        ["users", id, "onlineMeetings"] => meetings::find(tenant, Some(id), request, roles),
        ["communications", "onlineMeetings"] => meetings::find(tenant, None, request, roles),
        ["teams", team, "channels", rest @ ..] => channels::route(tenant, team, rest, request, roles),
        _ => Err(Reply::error(400, "BadRequest", "Resource not found for the segment.")),
    };
    answered.unwrap_or_else(|refused| refused).into()
}
