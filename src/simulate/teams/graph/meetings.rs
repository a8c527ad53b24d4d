//! Online meetings by their join URL (digest §11): needs a role and an application access policy.

use serde_json::{Value, json};

use super::super::request::{Reply, Request, collection};
use super::super::tenant::{Tenant, time};
use super::needs;

pub(super) fn find(
    tenant: &mut Tenant,
    user: Option<&str>,
    request: &Request,
    roles: &[String],
) -> Result<Reply, Reply> {
    needs(roles, &["OnlineMeetings.Read.All", "OnlineMeetings.ReadWrite.All"])?;
    if !tenant.options.access_policy {
        return Err(Reply::error(403, "Forbidden", "No application access policy found for this app on the user."));
    }
    let filter = request.option("filter").unwrap_or_default();
    let (name, rest) = filter.split_once(" eq ").unwrap_or_default();
    let url = rest.trim().strip_prefix('\'').and_then(|r| r.strip_suffix('\'')).map(|u| u.replace("''", "'"));
    let Some(url) = url.filter(|_| name.trim().eq_ignore_ascii_case("JoinWebUrl")) else {
        return Err(Reply::error(400, "BadRequest", "Filter by JoinWebUrl."));
    };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().to_lowercase();
    let found = tenant.chats.iter().find(|c| !c.join_url.is_empty() && decoded(&c.join_url) == decoded(&url));
    let shown: Vec<Value> = found
        .filter(|c| {
            let organizer = tenant.member(&c.organizer).map(|m| m.oid.clone()).unwrap_or_default();
            user.is_none_or(|u| u.eq_ignore_ascii_case(&organizer))
        })
        .map(|c| {
            let oid = tenant.member(&c.organizer).map(|m| m.oid.clone()).unwrap_or_default();
            json!({
                "id": super::super::keys::base64(format!("1*{oid}*0**{}", c.id)),
                "creationDateTime": time(c.created),
                "startDateTime": time(c.created),
                "endDateTime": time(c.created + 3_600_000),
                "joinWebUrl": c.join_url,
                "subject": if c.topic.is_empty() { Value::Null } else { json!(c.topic) },
                "allowedPresenters": "everyone",
                "chatInfo": { "threadId": c.id, "messageId": "0", "replyChainMessageId": null },
                "participants": {
                    "organizer": { "upn": null, "role": "presenter", "identity": tenant.identity(&c.organizer) },
                    "attendees": [],
                },
            })
        })
        .into_iter()
        .collect();
    Ok(collection(format!("{}/v1.0/$metadata#onlineMeetings", tenant.urls.base), shown, None))
}
