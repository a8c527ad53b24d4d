//! Lists of messages with the rules of the service (digest §15): top, order, filter, pages, and what the Prefer header hides.

use serde_json::{Value, json};

use super::super::chat::{Chat, Message};
use super::super::request::{Reply, Request, collection};
use super::super::tenant::Tenant;
use crate::model::Timestamp;

/// The property that a list is ordered or filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Modified,
    Created,
}

impl By {
    fn of(self, m: &Message) -> i64 {
        match self {
            By::Modified => m.modified,
            By::Created => m.created,
        }
    }

    fn read(name: &str) -> Option<Self> {
        match name {
            "lastModifiedDateTime" => Some(By::Modified),
            "createdDateTime" => Some(By::Created),
            _ => None,
        }
    }
}

/// What a list may look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// `$top` at most.
    pub top: usize,
    /// The filter counts only with `$orderby` on the same property.
    pub filter_needs_order: bool,
}

/// `/chats/{id}/messages`.
pub(super) const CHAT: Manner = Manner { top: 50, filter_needs_order: true };
/// Channels; they know no order, and delta filters without one.
pub(super) const CHANNEL: Manner = Manner { top: 50, filter_needs_order: false };
/// Export.
pub(super) const EXPORT: Manner = Manner { top: 1000, filter_needs_order: false };

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    after: Option<i64>,
    before: Option<i64>,
}

fn bad(what: &str) -> Reply {
    Reply::error(400, "BadRequest", what)
}

fn read_filter(text: &str) -> Result<(By, Span), Reply> {
    let mut property = None;
    let mut span = Span::default();
    for clause in text.split(" and ") {
        let words: Vec<&str> = clause.split_whitespace().collect();
        let [name, operator, moment] = words.as_slice() else { return Err(bad("Invalid filter clause.")) };
        let by = By::read(name).ok_or_else(|| bad("Filtering on this property is not supported."))?;
        if property.is_some_and(|p| p != by) {
            return Err(bad("Filtering on two properties is not supported."));
        }
        property = Some(by);
        let moment = Timestamp::parse_rfc3339(moment).ok_or_else(|| bad("Invalid date in filter clause."))?.millis();
        match (*operator, by) {
            ("gt", By::Modified) => span.after = Some(moment),
            ("lt", _) => span.before = Some(moment),
            _ => return Err(bad("This operator is not supported in the filter clause.")),
        }
    }
    property.map(|p| (p, span)).ok_or_else(|| bad("Invalid filter clause."))
}

/// One page of messages out of chats.
pub(super) fn page(
    tenant: &mut Tenant,
    from: &[usize],
    keep: impl Fn(&Message) -> bool,
    manner: Manner,
    request: &Request,
    context: String,
) -> Result<Reply, Reply> {
    let order = match request.option("orderby") {
        None => None,
        Some(text) => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let by = words
                .first()
                .and_then(|n| By::read(n))
                .ok_or_else(|| bad("Ordering by this property is not supported."))?;
            if words.get(1) != Some(&"desc") {
                return Err(bad("QueryOptions to order by are only supported in descending direction."));
            }
            Some(by)
        }
    };
    let span = match request.option("filter").map(read_filter).transpose()? {
        Some((by, span)) if !manner.filter_needs_order || order == Some(by) => Some((by, span)),
        Some(_) => {
            tenant.complain("a filter without the same-property $orderby was ignored");
            None
        }
        None => None,
    };
    let top = match request.option("top") {
        None => 20,
        Some(text) => match text.parse::<usize>() {
            Ok(n) if (1..=manner.top).contains(&n) => n,
            _ => return Err(bad(&format!("The limit of '{}' for Top query has been exceeded.", manner.top))),
        },
    };
    let skip = match request.option("skiptoken") {
        None => 0,
        Some(token) => token
            .strip_prefix("page-")
            .and_then(|t| t.parse().ok())
            .ok_or_else(|| bad("The skiptoken is not valid."))?,
    };
    let by = order.unwrap_or(By::Modified);
    let mut found: Vec<(&Chat, &Message)> = from
        .iter()
        .filter_map(|c| tenant.chats.get(*c))
        .flat_map(|chat| chat.messages.iter().map(move |m| (chat, m)))
        .filter(|(_, m)| keep(m))
        .filter(|(_, m)| {
            span.is_none_or(|(by, span)| {
                let at = by.of(m);
                span.after.is_none_or(|a| at > a) && span.before.is_none_or(|b| at < b)
            })
        })
        .collect();
    found.sort_by_key(|(_, m)| std::cmp::Reverse((by.of(m), m.created)));
    let more = found.len() > skip + top;
    let known = request.prefers_unknown();
    let shown: Vec<(String, Value)> = found
        .into_iter()
        .skip(skip)
        .take(top)
        .map(|(chat, m)| (chat.id.clone(), shown(tenant, chat, m, known)))
        .collect();
    for (chat, message) in &shown {
        tenant.has_read(chat, message);
    }
    let next = more.then(|| {
        let host = if tenant.faults.next_link { &tenant.urls.elsewhere } else { &tenant.urls.base };
        let path = request.raw.split('?').next().unwrap_or_default();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in request.query.iter().filter(|(n, _)| n.trim_start_matches('$') != "skiptoken") {
            query.append_pair(name, value);
        }
        query.append_pair("$skiptoken", &format!("page-{}", skip + top));
        format!("{host}{path}?{}", query.finish())
    });
    Ok(collection(context, shown.into_iter().map(|(_, m)| m).collect(), next))
}

/// A message in an answer; without the Prefer header system messages have an unknown type.
pub(super) fn shown(tenant: &Tenant, chat: &Chat, m: &Message, known: bool) -> Value {
    let mut shown = tenant.message_json(chat, m);
    if m.event.is_some() && !known {
        shown["messageType"] = json!("unknownFutureValue");
    }
    shown
}

impl Tenant {
    /// Notes that this form of a message was given out.
    pub fn has_read(&mut self, chat: &str, message: &Value) {
        let etag = message["etag"].as_str().unwrap_or_default();
        let said = self
            .ledger
            .chats
            .get_mut(chat)
            .and_then(|c| c.messages.iter_mut().find(|m| message["id"] == m.id.as_str()));
        if let Some(version) = said.and_then(|s| s.versions.iter_mut().find(|v| v.etag == etag)) {
            version.read = true;
        }
    }
}
