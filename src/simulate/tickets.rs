//! Web tickets: who asked where, what is issued, and what the challenges look like.

use std::collections::HashMap;

use serde_json::json;

use super::http::{Reply, Request};
use super::resources::{invalid_ticket, json_reply};
use super::scenario::PoolOptions;
use super::server::Origin;
use super::text::strict_form;

/// Every ticket issued so far.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    issued: HashMap<String, Issued>,
    count: u64,
}

#[derive(Debug)]
struct Issued {
    origin: Origin,
    ends_ms: u64,
}

/// What a token request came to.
pub(super) struct Verdict {
    /// The answer.
    pub reply: Reply,
    /// A ticket was issued.
    pub issued: bool,
    /// User name or password was wrong.
    pub refused: bool,
}

impl Tickets {
    /// Checks the ticket of a request; `Err` is the answer to give instead.
    pub fn check(
        &self,
        request: &Request,
        origin: Origin,
        now_ms: u64,
        challenge: impl FnOnce() -> Reply,
    ) -> Result<(), Reply> {
        let Some(header) = request.field("authorization") else { return Err(challenge()) };
        let Some(token) = header.strip_prefix("Bearer ") else { return Err(challenge()) };
        match self.issued.get(token) {
            Some(ticket) if ticket.origin != origin => Err(invalid_ticket()),
            Some(ticket) if ticket.ends_ms > now_ms => Ok(()),
            _ => Err(challenge()),
        }
    }

    /// Ends every ticket.
    pub fn expire_all(&mut self, now_ms: u64) {
        for ticket in self.issued.values_mut() {
            ticket.ends_ms = ticket.ends_ms.min(now_ms);
        }
    }

    /// Answers `POST …/WebTicket/oauthtoken`.
    pub fn grant(
        &mut self,
        request: &Request,
        origin: Origin,
        now_ms: u64,
        options: &PoolOptions,
        locked: bool,
    ) -> Verdict {
        let fail = |error: &str, diagnostics: &str, refused| Verdict {
            reply: json_reply(400, &json!({ "error": error })).with("X-Ms-diagnostics", diagnostics),
            issued: false,
            refused,
        };
        const BAD: &str = "28026;source=\"pool\";reason=\"The OAuth request is malformed.\"";
        if request.media_type() != "application/x-www-form-urlencoded" {
            return fail("invalid_request", BAD, false);
        }
        let Ok(form) = strict_form(&request.body) else { return fail("invalid_request", BAD, false) };
        let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let grant = field("grant_type").unwrap_or_default();
        if !options.grants.iter().any(|g| g == grant) {
            let text = "28029;source=\"pool\";reason=\"The OAuth request has an unsupported grant type.\"";
            return fail("unsupported_grant_type", text, false);
        }
        match grant {
            "password" => {
                let name = field("username").unwrap_or_default();
                let known = name.eq_ignore_ascii_case(&options.username)
                    || name.eq_ignore_ascii_case(options.sign_in.trim_start_matches("sip:"));
                if !known || locked || field("password") != Some(options.password.as_str()) {
                    // The real header of this failure lacks its last quote (seed 002 of the captures).
                    let text = "28020;source=\"pool\";reason=\"No valid security token.";
                    return fail("invalid_grant", text, true);
                }
                self.count += 1;
                let token = format!("cwt=AAEB{}{:06}{}", origin.letter(), self.count, "bUhc");
                let ends_ms = now_ms.saturating_add(options.token_seconds.saturating_mul(1000));
                self.issued.insert(token.clone(), Issued { origin, ends_ms });
                let body = json!({
                    "access_token": token, "expires_in": options.token_seconds,
                    "ms_rtc_identityscope": "local", "token_type": "Bearer",
                });
                Verdict { reply: json_reply(200, &body), issued: true, refused: false }
            }
            "urn:microsoft.rtc:windows" => Verdict {
                reply: Reply::html(401, "<html><body>Unauthorized</body></html>")
                    .with("WWW-Authenticate", "Negotiate")
                    .with("WWW-Authenticate", "NTLM"),
                issued: false,
                refused: false,
            },
            _ => fail("invalid_grant", "28020;source=\"pool\";reason=\"No valid security token.\"", false),
        }
    }
}

/// The 401 that says how to get a ticket here.
pub(super) fn challenge(options: &PoolOptions, base: &str) -> Reply {
    let quote = if options.challenge_quotes { "\"" } else { "" };
    let grants = options.grants.join(",");
    let rtc = format!("MsRtcOAuth href={quote}{base}/WebTicket/oauthtoken{quote},grant_type=\"{grants}\"");
    let uri =
        if options.challenge_uri { format!(", authorization_uri=\"{base}/oauth2/authorize\"") } else { String::new() };
    let bearer = format!("Bearer trusted_issuers=\"\", client_id=\"00000004-0000-0ff1-ce00-000000000000\"{uri}");
    let reply = Reply::html(401, "<html><body><h2>401 - Unauthorized: Access is denied.</h2></body></html>");
    if options.challenge_joined {
        reply.with("WWW-Authenticate", format!("{rtc}, {bearer}"))
    } else {
        reply.with("WWW-Authenticate", bearer).with("WWW-Authenticate", rtc)
    }
}
