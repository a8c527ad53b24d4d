//! Requests to Graph and to the Bot Connector as plain data, and what comes of them.
//!
//! Machines make [`Ask`]s; the client performs them: it has the tokens, keeps the budgets, and waits as the service says.
//! A machine sees a [`Reply`] only when nothing more is to be tried.

use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::model::Timestamp;

/// HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Acts or creates.
    Post,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

/// Who goes first when not everything may go at once; the first goes before everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Answering and rejecting calls: seconds count.
    Deadline,
    /// What is happening now: rosters, recording status, messages just announced.
    Live,
    /// Subscriptions, keep-alives, checks.
    Upkeep,
    /// Reading the past.
    Backfill,
}

/// What the service counts a request as (digest §18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `/communications/calls`: no budget of ours.
    Calls,
    /// GET of messages of a chat.
    ChatMessages,
    /// GET of messages of a channel.
    ChannelMessages,
    /// `getAllMessages` by GET.
    Export,
    /// POST of an activity through the Bot Connector.
    Post,
    /// Everything else.
    Other,
}

/// Where a request goes; the address decides which secret goes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Path and query below `{graph_url}/v1.0`, percent-encoded, beginning with `/`.
    Graph(String),
    /// A `nextLink` or `deltaLink` as received; asked only if it is on the configured Graph origin.
    Link(String),
    /// Path (beginning with `/`) below an activity's `serviceUrl`; asked only if that is on the allow list.
    Connector {
        /// As received.
        service_url: String,
        /// Percent-encoded.
        path: String,
    },
}

/// How long the client goes on trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// One immediate repetition, then the answer as it is; for calls that ring. Nothing is sent after this time.
    Until(Timestamp),
    /// Throttling, 5xx and broken connections are tried again this many times, with pauses as the service says.
    Tries(u32),
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Method.
    pub method: Method,
    /// Where.
    pub address: Address,
    /// JSON body.
    pub body: Option<Value>,
    /// Who goes first.
    pub priority: Priority,
    /// What it counts as.
    pub class: Class,
    /// The team, channel, chat or call whose own budget it uses (4 requests a second), if any.
    pub thread: Option<String>,
    /// How long to go on trying.
    pub patience: Patience,
}

impl Ask {
    /// A request of this class to Graph, tried 5 times.
    pub fn graph(method: Method, path: impl Into<String>, class: Class, priority: Priority) -> Ask {
        Ask {
            method,
            address: Address::Graph(path.into()),
            body: None,
            priority,
            class,
            thread: None,
            patience: Patience::Tries(5),
        }
    }

    /// The same with a body.
    pub fn with_body(self, body: Value) -> Ask {
        Ask { body: Some(body), ..self }
    }

    /// The same, counted against the budget of this chat or channel too.
    pub fn of_thread(self, thread: impl Into<String>) -> Ask {
        Ask { thread: Some(thread.into()), ..self }
    }

    /// Method and address as an envelope names the request whose answer it holds.
    pub fn described(&self, graph_url: &str) -> String {
        let method = match self.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        };
        match &self.address {
            Address::Graph(path) => format!("{method} {graph_url}/v1.0{path}"),
            Address::Link(link) => format!("{method} {link}"),
            Address::Connector { path, .. } => format!("{method} {path}"),
        }
    }
}

/// What came of an [`Ask`], after all tries.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The service answered; any status.
    Answer {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: Option<String>,
        /// The body.
        body: Bytes,
        /// From sending until the answer, of the last try.
        took: Duration,
    },
    /// No answer: no connection, timeout, no token, an address that may not be asked. Says why, without secrets.
    Failed(String),
}

impl Reply {
    /// Status, or 0 without an answer.
    pub fn status(&self) -> u16 {
        match self {
            Reply::Answer { status, .. } => *status,
            Reply::Failed(_) => 0,
        }
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        match self {
            Reply::Answer { body, .. } => serde_json::from_slice(body).unwrap_or(Value::Null),
            Reply::Failed(_) => Value::Null,
        }
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status())
    }

    /// What went wrong in one fragment: the status and the service's `error.code`, never its message, which may hold content.
    pub fn trouble(&self) -> String {
        match self {
            Reply::Failed(why) => why.clone(),
            Reply::Answer { status, .. } => match self.json().pointer("/error/code").and_then(Value::as_str) {
                Some(code) if code.len() <= 64 && code.bytes().all(|b| b.is_ascii_graphic()) => {
                    format!("{status} {code}")
                }
                _ => status.to_string(),
            },
        }
    }
}

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An identifier as one segment of a path or one value of a query: `19:a@thread.v2` becomes `19%3Aa%40thread.v2`.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A text as an OData string literal inside a query, quotes doubled and everything percent-encoded.
pub fn odata_text(text: &str) -> String {
    format!("%27{}%27", encoded(&text.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_ids_are_encoded_once_and_quotes_doubled() {
        assert_eq!(encoded("19:meeting_x@thread.v2"), "19%3Ameeting_x%40thread.v2");
        assert_eq!(odata_text("it's"), "%27it%27%27s%27");
    }

    #[test]
    fn trouble_names_code_and_never_the_message() {
        let body = Bytes::from_static(br#"{"error":{"code":"Forbidden","message":"secret words"}}"#);
        let reply = Reply::Answer { status: 403, content_type: None, body, took: Duration::ZERO };
        assert_eq!(reply.trouble(), "403 Forbidden");
    }
}
