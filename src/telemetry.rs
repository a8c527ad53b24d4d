//! Logs: where they go, how they look, and what must never be in them.
//!
//! The rule is kept where things are logged: identifiers, counts and causes, never message content, never a secret. What is
//! here is the second line: every line passes [`redact`] on its way out, HTTP and TLS libraries (which print headers at
//! their lowest levels) are held at `warn` whatever `RUST_LOG` says, and a panic is logged without a computed message,
//! because such messages quote the text they failed on.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for log collectors.
    Json,
}

/// Libraries that print headers or bodies when they are verbose.
const QUIET: &[&str] = &["hyper", "hyper_util", "h2", "reqwest", "rustls", "tokio_rustls"];

/// Libraries whose warnings say nothing to those who run this: that of the system's certificates warns of each one it cannot use.
const CHATTY: &[&str] = &["rustls_platform_verifier"];

/// Sends logs to standard error and panics to the log. `default_level` holds unless `RUST_LOG` says otherwise. A second
/// call changes nothing.
pub fn start(format: LogFormat, default_level: &str) {
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let wanted = asked.and_then(|text| EnvFilter::try_new(text).ok());
    let mut filter = wanted.unwrap_or_else(|| {
        let quiet: String = CHATTY.iter().map(|library| format!(",{library}=error")).collect();
        EnvFilter::new(format!("{default_level}{quiet}"))
    });
    for library in QUIET {
        if let Ok(directive) = format!("{library}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let started = match format {
        LogFormat::Text => lines.with_ansi(colours_wanted(&io::stderr())).with_writer(Stderr).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).with_writer(Stderr).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Whether a stream is a terminal whose user did not ask for no colours (`NO_COLOR`, see no-color.org).
pub fn colours_wanted(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    // A literal message is ours; a computed one may quote what was being worked on.
    let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message withheld)");
    tracing::error!(panic.place = %place, panic.thread = %thread, "greffier has an error in itself: {message}");
}

/// Standard error, one redacted line per event.
#[derive(Clone, Copy, Debug)]
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        Stderr
    }
}

impl Write for Stderr {
    /// The formatter hands over whole events.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        // A log that cannot be written must not stop the recorder.
        let _ = io::stderr().write_all(redact(&text).as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands before a secret in HTTP and in the protocols we speak; compared without case.
const BEFORE_SECRETS: &[&str] = &[
    "bearer ",
    "ntlm ",
    "negotiate ",
    "cwt=",
    "password=",
    "password\":\"",
    "access_token=",
    "access_token\":\"",
    "client_secret=",
];

/// Replaces what follows a marker such as `Bearer ` or `password=` by `[redacted]`, up to the next character that cannot
/// belong to it.
pub fn redact(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    let mut clean = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        let marker = BEFORE_SECRETS.iter().find(|marker| lower.as_bytes()[at..].starts_with(marker.as_bytes()));
        let Some(marker) = marker else {
            at += 1;
            continue;
        };
        let start = at + marker.len();
        let quoted = marker.ends_with('"');
        let ends =
            |c: char| if quoted { c == '"' } else { c.is_whitespace() || matches!(c, '"' | '\'' | '&' | ',' | ';') };
        let length = text[start..].find(ends).unwrap_or(text.len() - start);
        if length > 0 {
            clean.push_str(&text[copied..start]);
            clean.push_str("[redacted]");
            copied = start + length;
        }
        at = start + length;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[copied..]);
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_of_our_protocols_do_not_pass() {
        let cases = [
            ("sent Authorization: Bearer cwt=AAEBHA, again", "sent Authorization: Bearer [redacted], again"),
            (
                "body grant_type=password&username=a&Password=s%40x&x=1",
                "body grant_type=password&username=a&Password=[redacted]&x=1",
            ),
            (r#"{"access_token":"cwt=AA\/B","expires_in":1}"#, r#"{"access_token":"[redacted]","expires_in":1}"#),
            ("WWW-Authenticate: NTLM TlRMTVNTUAAB==", "WWW-Authenticate: NTLM [redacted]"),
            ("nothing here, größer", "nothing here, größer"),
            ("password=", "password="),
        ];
        for (given, expected) in cases {
            assert_eq!(redact(given), expected);
        }
    }
}
