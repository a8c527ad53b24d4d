//! `greffier raw`.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;

use super::output::Out;
use super::{ArchiveArg, Exit, Globals};
use crate::archive::reader::EnvelopeRow;
use crate::harmless;
use crate::integrity::hex;
use crate::model::{Seq, Timestamp};

/// Shows what the platform sent, as it came: the body that an event was read from
#[derive(Debug, Args)]
#[command(
    long_about = "Shows what the platform sent, as it came: the body that an event was read from, when and how it came, and \
what binds it to the log. SEQ is the number of an event; `show --json` and the pages name it. A body may tell of more \
than one event, and of other conversations."
)]
#[command(after_long_help = "Examples:
  greffier raw 1042
  greffier raw 1042 --body | sha256sum
  greffier raw 1042 --json | jq -r .request

Exit status 3 if there is no such event, or if it is the recorder's own statement.")]
pub(super) struct Raw {
    /// Number of the event in the log
    seq: u64,

    /// The bytes of the body alone, exactly as received
    #[arg(long, conflicts_with = "json")]
    body: bool,

    /// One JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    archive: ArchiveArg,
}

/// An envelope for programs.
#[derive(Serialize)]
struct Shown<'a> {
    v: u8,
    seq: u64,
    envelope: i64,
    connector: &'a str,
    platform: &'a str,
    received_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_date: Option<Timestamp>,
    request: &'a str,
    /// 0 = it was sent to us.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    size: usize,
    sha256: String,
    salt: String,
    commitment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    /// Where the body is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl Raw {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let reader = self.archive.reader(globals)?;
        let Some(leaf) = reader.leaf(Seq(self.seq))? else {
            eprintln!("greffier: there is no event {}; the log has {}", self.seq, reader.log_size()?);
            return Ok(Exit::NothingFound);
        };
        let Some(id) = leaf.envelope else {
            eprintln!(
                "greffier: event {} ({}) is the recorder's own statement; nothing was received for it",
                self.seq, leaf.kind
            );
            return Ok(Exit::NothingFound);
        };
        let Some(row) = reader.envelope(id)? else {
            anyhow::bail!(
                "the body of event {} is missing from the archive; `greffier verify` tells what else is",
                self.seq
            );
        };
        let mut out = Out::new();
        if self.body {
            out.raw().write_all(&row.envelope.body)?;
        } else if self.json {
            out.json(&shown(self.seq, &row))?;
        } else {
            people(self.seq, &row, &mut out)?;
        }
        out.finish()?;
        Ok(Exit::Done)
    }
}

fn shown(seq: u64, row: &EnvelopeRow) -> Shown<'_> {
    let envelope = &row.envelope;
    let text = std::str::from_utf8(&envelope.body).ok();
    Shown {
        v: 1,
        seq,
        envelope: row.id.0,
        connector: &row.connector,
        platform: &row.platform,
        received_at: envelope.received_at,
        server_date: envelope.server_date,
        request: &envelope.request,
        status: envelope.status,
        content_type: envelope.content_type.as_deref(),
        size: envelope.body.len(),
        sha256: hex(&row.digest),
        salt: hex(&row.salt),
        commitment: hex(&row.commitment),
        body: text,
        body_base64: text.is_none().then(|| STANDARD.encode(&envelope.body)),
    }
}

fn people(seq: u64, row: &EnvelopeRow, out: &mut Out) -> anyhow::Result<()> {
    let envelope = &row.envelope;
    let way = match envelope.status {
        0 => "sent to the recorder".to_owned(),
        status => format!("answered with status {status}"),
    };
    out.line(&format!(
        "Event {seq} was read from body {} of connector {} ({})",
        row.id.0, row.connector, row.platform
    ))?;
    out.line("")?;
    out.line(&format!("request      {}", harmless::one_line(&envelope.request)))?;
    out.line(&format!("             {way}"))?;
    out.line(&format!("received     {}", envelope.received_at))?;
    if let Some(date) = envelope.server_date {
        out.line(&format!("its date     {date}"))?;
    }
    if let Some(kind) = &envelope.content_type {
        out.line(&format!("type         {}", harmless::one_line(kind)))?;
    }
    out.line(&format!("size         {} bytes", envelope.body.len()))?;
    out.line(&format!("SHA-256      {}", hex(&row.digest)))?;
    out.line(&format!("commitment   {}", hex(&row.commitment)))?;
    out.line("")?;
    match std::str::from_utf8(&envelope.body) {
        Ok(text) => out.line(&harmless::lines(text))?,
        Err(_) => out.line("The body is no text; --body gives its bytes.")?,
    }
    Ok(())
}
