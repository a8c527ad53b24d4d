//! What came back, in the lines of `check`: pure functions from an answer to an outcome and a note.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::super::ask::Reply;
use super::super::config::ResolvedTeams;
use super::super::trust::KeySet;
use crate::connector::CheckOutcome::{self, Bad, Good, Warning};
use crate::model::Timestamp;

/// Certificates that end sooner are to be seen to.
const AHEAD: Duration = Duration::from_secs(30 * 86_400);

/// Outcome and note.
pub(in crate::connector::teams) type Verdict = (CheckOutcome, String);

/// A certificate by its end; `renew` says what to do.
pub(in crate::connector::teams) fn certificate(end: Timestamp, renew: &str, now: Timestamp) -> Verdict {
    let day = end.to_chrono().format("%Y-%m-%d");
    if end <= now {
        return (Bad, format!("ended on {day}; {renew}"));
    }
    let days = end.since(now).as_secs() / 86_400;
    if end < now.plus(AHEAD) {
        return (Warning, format!("ends on {day}, in {days} days; {renew}"));
    }
    (Good, format!("good until {day}"))
}

/// The list of subscriptions: whether Graph answers and takes our token.
pub(super) fn subscriptions(reply: &Reply, config: &ResolvedTeams) -> Verdict {
    match reply.status() {
        200 => {
            let json = reply.json();
            let list = json.get("value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let base = config.callback_url.as_str().trim_end_matches('/');
            let ours = |one: &&Value| {
                let url = one.get("notificationUrl").and_then(Value::as_str).unwrap_or_default();
                url.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'))
            };
            let count = list.iter().filter(ours).count();
            let more = if json.get("@odata.nextLink").is_some() { ", and more" } else { "" };
            (Good, format!("{} of this application{more}, {count} of them to this callback_url", list.len()))
        }
        401 => (Bad, "401: Graph does not take the token; check graph_scope, graph_url and cloud".to_owned()),
        403 => (
            Bad,
            format!("{}: Graph takes the token and refuses; check permissions and admin consent", reply.trouble()),
        ),
        0 => (Bad, format!("Graph cannot be reached at {}: {}", config.endpoints.graph_url, reply.trouble())),
        404 => (Bad, format!("404: there is no Graph at {}; check graph_url", config.endpoints.graph_url)),
        429 | 500.. => (Warning, format!("{}: Graph is busy or out of order; try again", reply.trouble())),
        _ => (Bad, reply.trouble()),
    }
}

/// A set of signing keys.
pub(super) fn keys(reply: &Reply) -> Verdict {
    let Reply::Answer { status: 200, body, .. } = reply else {
        return (Bad, format!("no signing keys: {}", reply.trouble()));
    };
    match KeySet::parse(body).map(|keys| keys.len()) {
        Some(count) if count > 0 => (Good, format!("signing keys: {count}")),
        _ => (Bad, "the key set has no usable key; check the address".to_owned()),
    }
}

/// Whether the handshake sent to our own callback URL came back. `served` = something that echoes listens here.
pub(super) fn knock(reply: &Reply, token: &str, callback: &Url, listen: std::net::SocketAddr) -> Verdict {
    const ROUTE: &str = "what counts is the way from the internet, which cannot be tried from here";
    match reply {
        Reply::Answer { status: 200, body, .. } if body.as_ref() == token.as_bytes() => {
            (Good, "the handshake of a subscription came back".to_owned())
        }
        Reply::Answer { status, .. } => {
            let note = format!(
                "{status}: something answers at {callback}, but not the webhooks; the proxy must pass the whole path, \
                 unchanged, to {listen}"
            );
            (Bad, note)
        }
        Reply::Failed(why) if crate::config::address::is_loopback(callback) => (Bad, why.clone()),
        Reply::Failed(why) => (Warning, format!("not from this machine: {why}; {ROUTE}")),
    }
}

/// The probe of the application access policy: a meeting that does not exist, asked for in the name of a user.
pub(super) fn access_policy(reply: &Reply) -> Verdict {
    match reply.status() {
        200 | 400 | 404 => (Good, "meetings may be read in the name of the user asked for".to_owned()),
        403 => {
            let note = "403: no application access policy allows this application for the user asked for: \
                        New-CsApplicationAccessPolicy, Grant-CsApplicationAccessPolicy; it takes up to 30 minutes";
            (Warning, note.to_owned())
        }
        _ => (Warning, format!("not known: {}", reply.trouble())),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::connector::teams::check::tests::config;

    fn answer(status: u16, body: &str) -> Reply {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Reply::Answer { status, content_type: None, body, took: Duration::ZERO }
    }

    #[test]
    fn certificates_are_told_of_thirty_days_ahead() {
        let now = Timestamp::from_millis(1_795_225_034_000);
        let day = |days: u64| now.plus(Duration::from_secs(days * 86_400 + 60));
        let says = |end| certificate(end, "renew it", now);
        assert_eq!(says(day(31)).0, Good);
        assert_eq!(says(day(29)), (Warning, "ends on 2026-12-20, in 29 days; renew it".into()));
        assert_eq!(says(now), (Bad, "ended on 2026-11-21; renew it".into()));
    }

    #[test]
    fn subscriptions_are_counted_and_refusals_say_what_to_check() {
        let config = config("");
        let body = json!({"value": [
            {"notificationUrl": "https://recorder.contoso.com/api/notifications/x"},
            {"notificationUrl": "https://recorder.contoso.com.evil.example/api"},
            {"notificationUrl": null},
        ]});
        let says = |reply: &Reply| subscriptions(reply, &config);
        assert_eq!(
            says(&answer(200, &body.to_string())),
            (Good, "3 of this application, 1 of them to this callback_url".into())
        );
        assert!(says(&answer(401, "")).1.contains("graph_scope"));
        assert_eq!(says(&answer(403, r#"{"error":{"code":"Forbidden","message":"secret"}}"#)).0, Bad);
        assert!(!says(&answer(403, r#"{"error":{"code":"Forbidden","message":"secret"}}"#)).1.contains("secret"));
        assert!(says(&Reply::Failed("no connection".into())).1.contains("https://graph.microsoft.com: no connection"));
        assert_eq!(says(&answer(503, "")).0, Warning);
    }

    #[test]
    fn only_the_echo_of_the_handshake_counts_as_reached() {
        let callback = Url::parse("https://recorder.contoso.com/x").expect("url");
        let listen = "127.0.0.1:8443".parse().expect("address");
        let says = |reply: &Reply| knock(reply, "abc", &callback, listen);
        assert_eq!(says(&answer(200, "abc")).0, Good);
        assert!(says(&answer(404, "")).1.contains("the proxy must pass the whole path"));
        assert_eq!(says(&answer(200, "abcd")).0, Bad);
        assert_eq!(says(&Reply::Failed("no connection".into())).0, Warning);
        let here = Url::parse("http://127.0.0.1:1").expect("url");
        assert_eq!(knock(&Reply::Failed("no connection".into()), "abc", &here, listen).0, Bad);
    }

    #[test]
    fn a_key_set_needs_a_usable_key() {
        assert_eq!(keys(&answer(200, r#"{"keys":[]}"#)).0, Bad);
        assert_eq!(keys(&answer(404, "")), (Bad, "no signing keys: 404".into()));
        assert_eq!(keys(&Reply::Failed("no connection".into())).0, Bad);
    }

    #[test]
    fn a_missing_access_policy_is_told_from_a_meeting_that_is_not_there() {
        assert_eq!(access_policy(&answer(404, "")).0, Good);
        assert!(access_policy(&answer(403, "")).1.contains("Grant-CsApplicationAccessPolicy"));
        assert_eq!(access_policy(&answer(500, "")).0, Warning);
    }
}
