//! `greffier show`.

use clap::Args;

use super::output::Out;
use super::{ArchiveArg, Exit, Globals, which};
use crate::archive::reader::Order;
use crate::export::{TextOptions, write_transcript};

/// Shows one transcript, readable or as JSON Lines
#[derive(Debug, Args)]
#[command(
    long_about = "Shows one transcript: who was there, what was said and when, what was edited or deleted, and whether \
the record is complete. CONVERSATION is an id from `greffier list`; its first characters are enough while no other id \
begins so."
)]
#[command(after_long_help = "Examples:
  greffier show c_01JD8Q6W0T
  greffier show 01jd8q --json | jq -r 'select(.kind == \"message.sent\") | .message.text'
  greffier show --archive /backup/archive c_01JD8Q6W0T | less

Exit status 3 if there is no such conversation.")]
pub(super) struct Show {
    /// Id of the conversation, or its first characters
    conversation: String,

    /// One JSON object (event, version 1) per line, in the order of capture
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    archive: ArchiveArg,
}

impl Show {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let reader = self.archive.reader(globals)?;
        let Some(id) = which::conversation(&reader, &self.conversation)? else {
            return Ok(which::none(&reader, &self.conversation));
        };
        let mut out = Out::new();
        if self.json {
            for event in reader.transcript(&id, Order::Capture) {
                out.json(&event?)?;
            }
        } else {
            write_transcript(&reader, &id, out.raw(), TextOptions::default())?;
        }
        out.finish()?;
        Ok(Exit::Done)
    }
}
