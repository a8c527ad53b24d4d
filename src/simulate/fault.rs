//! What can break: faults that change answers to coming requests, and faults that strike the pool at once.

use std::fmt;
use std::time::Duration;

use super::http::{Manner, Reply, Request};
use super::resources;

/// Which requests a fault meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Requests on the event channel.
    Channel,
    /// Everything but the event channel.
    Commands,
    /// Every request.
    Any,
    /// Requests whose path and query contain this text.
    Path(String),
}

/// What happens to a request that a fault meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The request is not carried out; this status comes back, with an error body and perhaps `Retry-After` (seconds).
    Status {
        /// HTTP status.
        status: u16,
        /// `subcode` of the error body.
        subcode: Option<String>,
        /// `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// 500 with diagnostics 28032, as for a ticket of another pool.
    InvalidTicket,
    /// 401 with a challenge, whatever ticket was sent.
    Unauthorized,
    /// An HTML page with this status, as proxies send them.
    Html(u16),
    /// A redirect (302) to this absolute URL.
    Redirect(String),
    /// Carried out, but the answer is preceded by a byte order mark.
    Bom,
    /// Carried out, but the body is cut in the middle and still announced as whole: malformed JSON.
    Malformed,
    /// Carried out, but only half of the announced body arrives before an orderly close.
    Short,
    /// Carried out, but the connection is reset in the middle of the body.
    Reset,
    /// Carried out, but nothing comes back: the connection is closed.
    Silence,
    /// Nothing happens for so long; then the request is carried out.
    Stall(Duration),
    /// Carried out; the body comes chunked in so many pieces with a pause before each.
    Slow(usize, Duration),
}

/// A fault that the scenario or a test orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Changes the next `times` answers to requests of `target`, after the first `skip` of them.
    Answers {
        /// Which requests.
        target: Target,
        /// How many are left alone first.
        skip: u32,
        /// How many are met.
        times: u32,
        /// What happens to them.
        effect: Effect,
    },
    /// Every ticket issued so far is worth nothing from now on (401).
    ExpireTickets,
    /// The application is gone (404 `ApplicationNotFound`), with all conversations.
    KillApplication,
    /// The application is gone (410 `InactiveApplicationExpired`).
    ExpireApplication,
    /// The next channel answer carries only `resync`.
    Resync,
    /// All conversations are closed; the next channel answer carries `resume`.
    Resume,
    /// Another client asks for events of this application: the held request is answered 409 `PGetReplaced`.
    SecondClient,
    /// The same batch is served once more although it was acknowledged.
    DuplicateBatch,
    /// Nothing listens for so long, and open connections are reset. With `lost`, applications are gone.
    Down {
        /// How long.
        length: Duration,
        /// Whether the applications end with it.
        lost: bool,
    },
    /// Open connections are reset; the pool goes on.
    CutConnections,
    /// The account's password on the server becomes this one.
    Password(String),
    /// The discovery root redirects to this URL from now on; empty: no longer.
    RedirectRoot(String),
    /// The discovery root redirects in a circle from now on.
    RedirectLoop,
}

/// As the narration tells it: one sentence without its full stop.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Answers { target, skip, times, effect } => {
                write!(f, "The pool will answer {times} request{}{target} with {effect}", plural(*times))?;
                match skip {
                    0 => Ok(()),
                    _ => write!(f, ", leaving the first {skip} alone"),
                }
            }
            Fault::ExpireTickets => f.write_str("Every ticket issued so far becomes worthless"),
            Fault::KillApplication => {
                f.write_str("The pool ends the recorder's application, with all conversations (404)")
            }
            Fault::ExpireApplication => f.write_str("The pool ends the recorder's application as inactive (410)"),
            Fault::Resync => f.write_str("The pool has lost its place in the event channel (resync)"),
            Fault::Resume => f.write_str("The pool closes all conversations of the recorder (resume)"),
            Fault::SecondClient => f.write_str("A second client takes over the recorder's event channel (409)"),
            Fault::DuplicateBatch => f.write_str("The pool delivers the newest batch of events once more"),
            Fault::Down { length, lost: false } => write!(f, "Now the network breaks for {}", Length(*length)),
            Fault::Down { length, lost: true } => {
                write!(
                    f,
                    "Now the network breaks for {}, and the pool forgets the recorder's application",
                    Length(*length)
                )
            }
            Fault::CutConnections => f.write_str("Open connections are cut; the pool goes on"),
            Fault::Password(_) => f.write_str("The account's password is changed on the server"),
            Fault::RedirectRoot(url) if url.is_empty() => f.write_str("Discovery redirects no longer"),
            Fault::RedirectRoot(url) => write!(f, "Discovery now redirects to {url}"),
            Fault::RedirectLoop => f.write_str("Discovery now redirects in a circle"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Channel => f.write_str(" on the event channel"),
            Target::Commands => f.write_str(" outside the event channel"),
            Target::Any => Ok(()),
            Target::Path(part) => write!(f, " whose path has `{part}`"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Status { status, subcode, retry_after } => {
                write!(f, "status {status}")?;
                if let Some(subcode) = subcode {
                    write!(f, " {subcode}")?;
                }
                retry_after.map_or(Ok(()), |seconds| write!(f, " (Retry-After {seconds} s)"))
            }
            Effect::InvalidTicket => f.write_str("500, as for a ticket of another pool"),
            Effect::Unauthorized => f.write_str("401, whatever the ticket"),
            Effect::Html(status) => write!(f, "an HTML page (status {status})"),
            Effect::Redirect(url) => write!(f, "a redirect to {url}"),
            Effect::Bom => f.write_str("a byte order mark in front"),
            Effect::Malformed => f.write_str("half of the JSON"),
            Effect::Short => f.write_str("half of the announced body"),
            Effect::Reset => f.write_str("a reset in the middle of the body"),
            Effect::Silence => f.write_str("a closed connection"),
            Effect::Stall(length) => write!(f, "a delay of {}", Length(*length)),
            Effect::Slow(pieces, pause) => {
                write!(f, "crumbs: {pieces} piece{}, {} apart", if *pieces == 1 { "" } else { "s" }, Length(*pause))
            }
        }
    }
}

fn plural(number: u32) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// `4 s`, `250 ms`.
struct Length(Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms.is_multiple_of(1000) => write!(f, "{} s", ms / 1000),
            ms => write!(f, "{ms} ms"),
        }
    }
}

/// A fault that waits for its requests.
#[derive(Debug)]
struct Armed {
    target: Target,
    skip: u32,
    times: u32,
    effect: Effect,
}

/// The faults that wait for requests.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Armed>);

impl Faults {
    pub fn arm(&mut self, target: Target, skip: u32, times: u32, effect: Effect) {
        self.0.push(Armed { target, skip, times, effect });
    }

    /// The effect that meets this request, if any. The first armed fault that fits wins.
    pub fn meet(&mut self, request: &Request) -> Option<Effect> {
        let channel = request.method == "GET" && request.path().ends_with("/events");
        let at = self.0.iter().position(|armed| match &armed.target {
            Target::Channel => channel,
            Target::Commands => !channel,
            Target::Any => true,
            Target::Path(part) => request.target.contains(part.as_str()),
        })?;
        let armed = &mut self.0[at];
        if armed.skip > 0 {
            armed.skip -= 1;
            return None;
        }
        let effect = armed.effect.clone();
        armed.times = armed.times.saturating_sub(1);
        if armed.times == 0 {
            self.0.remove(at);
        }
        Some(effect)
    }
}

/// The answer that takes the place of the real one, for effects that keep a request from being carried out.
pub(super) fn instead(effect: &Effect, challenge: impl FnOnce() -> Reply) -> Option<Reply> {
    Some(match effect {
        Effect::Status { status, subcode, retry_after } => {
            let mut reply = resources::error(*status, subcode.as_deref());
            if let Some(seconds) = retry_after {
                reply = reply.with("Retry-After", seconds.to_string());
            }
            reply
        }
        Effect::InvalidTicket => resources::invalid_ticket(),
        Effect::Unauthorized => challenge(),
        Effect::Html(status) => Reply::html(
            *status,
            "<html><head><title>Error</title></head><body>The page is not available.</body></html>",
        ),
        Effect::Redirect(url) => Reply::empty(302).with("Location", url.clone()),
        _ => return None,
    })
}

/// Spoils an answer that was really given.
pub(super) fn spoil(effect: &Effect, mut reply: Reply) -> Reply {
    match effect {
        Effect::Bom => {
            reply.body.splice(..0, [0xef, 0xbb, 0xbf]);
        }
        Effect::Malformed => {
            reply.body.truncate(reply.body.len() / 2);
        }
        Effect::Short => reply.manner = Manner::Short,
        Effect::Reset => reply.manner = Manner::Reset,
        Effect::Silence => reply.manner = Manner::Silence,
        Effect::Slow(pieces, pause) => reply.manner = Manner::Chunked(*pieces, *pause),
        _ => {}
    }
    reply
}

/// Whether an effect keeps the whole, correct answer from arriving.
pub(super) fn loses_answer(effect: &Effect) -> bool {
    matches!(effect, Effect::Malformed | Effect::Short | Effect::Reset | Effect::Silence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str) -> Request {
        Request { method: "GET".to_owned(), target: target.to_owned(), ..Request::default() }
    }

    #[test]
    fn faults_are_told_in_plain_words() {
        let down = |ms, lost| Fault::Down { length: Duration::from_millis(ms), lost };
        assert_eq!(down(4000, false).to_string(), "Now the network breaks for 4 s");
        assert!(down(250, true).to_string().starts_with("Now the network breaks for 250 ms, and the pool forgets"));
        let effect = Effect::Status { status: 429, subcode: None, retry_after: Some(2) };
        let answers = Fault::Answers { target: Target::Channel, skip: 0, times: 1, effect };
        assert_eq!(
            answers.to_string(),
            "The pool will answer 1 request on the event channel with status 429 (Retry-After 2 s)"
        );
        assert!(!Fault::Password("secret".into()).to_string().contains("secret"));
    }

    #[test]
    fn a_fault_skips_then_meets_then_is_over() {
        let mut faults = Faults::default();
        faults.arm(Target::Channel, 1, 2, Effect::Bom);
        assert_eq!(faults.meet(&get("/a/communication")), None);
        let poll = get("/a/events?ack=1");
        let met: Vec<bool> = (0..4).map(|_| faults.meet(&poll).is_some()).collect();
        assert_eq!(met, [false, true, true, false]);
    }
}
