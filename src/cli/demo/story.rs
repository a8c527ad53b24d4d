//! What the demo tells: the platforms' narrations and the recorder's log side by side, and the summary.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::stage::{Stage, StageNarration};
use crate::archive::audit::AuditOptions;
use crate::archive::reader::ConversationFilter;
use crate::archive::{Layout, Reader};
use crate::cli::output::{Out, program};
use crate::cli::recorder::Recorder;
use crate::cli::{Exit, list, verify};
use crate::config::shell_quoted;
use crate::model::{Event, Kind, Message, Person, Seq};

/// Events read in one go.
const PAGE: usize = 200;

/// Width of the table at the end.
const WIDTH: u16 = 100;

/// Characters shown of a text.
const SHOWN: usize = 100;

pub(super) struct Story {
    out: Out,
    began: Instant,
    narration: StageNarration,
    dir: PathBuf,
    /// Opened when something is to be read.
    reader: Option<Reader>,
    log_size: watch::Receiver<u64>,
    told: u64,
    /// Ids of the messages from Teams that the log has.
    heard: BTreeSet<String>,
}

impl Story {
    pub(super) fn begin(dir: &Path, stage: &Stage, recorder: &Recorder) -> Story {
        Story {
            out: Out::new(),
            began: Instant::now(),
            narration: stage.narration(),
            dir: dir.to_owned(),
            reader: None,
            log_size: recorder.vitals().log_size.clone(),
            told: 0,
            heard: BTreeSet::new(),
        }
    }

    fn reader(&mut self) -> anyhow::Result<&Reader> {
        Ok(match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.dir)?),
        })
    }

    /// Closes the archive, so that the recorder can make it one file again when it stops.
    pub(super) fn put_down(&mut self) {
        self.reader = None;
    }

    pub(super) fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.out.line(text)?;
        Ok(self.out.flush()?)
    }

    /// Tells what happens on all sides until something is over.
    pub(super) async fn follow<T>(
        &mut self,
        recorder: &Recorder,
        mut until: Pin<Box<impl Future<Output = T>>>,
    ) -> anyhow::Result<T> {
        loop {
            self.tell_log()?;
            tokio::select! {
                done = &mut until => {
                    self.tell_log()?;
                    return Ok(done);
                }
                Some((who, line)) = self.narration.next() => self.tell(who, &line)?,
                Ok(()) = self.log_size.changed() => {}
                error = recorder.failure() => return Err(error),
            }
        }
    }

    /// Goes on until what was said is recorded, as far as it can be, or so long.
    pub(super) async fn catch_up(
        &mut self,
        recorder: &Recorder,
        stage: &Stage,
        within: Duration,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + within;
        self.follow(recorder, Box::pin(stage.settle(within))).await?;
        let mut log_size = self.log_size.clone();
        while self.lacking(stage) > 0 && tokio::time::Instant::now() < deadline {
            self.follow(recorder, Box::pin(tokio::time::timeout_at(deadline, log_size.changed()))).await?.ok();
        }
        Ok(())
    }

    /// How many messages of people in the tenant the log did not have when it was last looked at.
    pub(super) fn lacking(&self, stage: &Stage) -> usize {
        stage.lacking(&self.heard)
    }

    fn tell(&mut self, who: &str, text: &str) -> anyhow::Result<()> {
        let seconds = self.began.elapsed().as_secs_f64();
        let text = text.replace(['\n', '\r'], " ⏎ ");
        self.say(&format!("{seconds:6.1} s  {who:<8}  {text}"))
    }

    /// Tells what the log has got since the last time.
    fn tell_log(&mut self) -> anyhow::Result<()> {
        loop {
            let from = Seq(self.told + 1);
            let events = self.reader()?.events(from, PAGE)?;
            let Some(last) = events.last() else { return Ok(()) };
            self.told = last.seq.0;
            let messages = events.iter().filter(|event| event.kind == Kind::MessageSent && event.platform == "teams");
            self.heard
                .extend(messages.filter_map(|event| event.content.message.as_ref()).map(|message| message.id.clone()));
            // What the platform sent that has no kind of its own would drown the rest here.
            for event in events.iter().filter(|event| event.kind != Kind::PlatformEvent) {
                self.tell("recorder", &format!("#{} {}", event.seq, in_words(event)))?;
            }
        }
    }

    /// The conversations, what was said against what was recorded, the audit, and what to try next.
    pub(super) fn sum_up(&mut self, stage: &Stage) -> anyhow::Result<Exit> {
        self.tell_log()?;
        self.say("")?;
        let mut table = list::new_table();
        table.set_header(["conversation", "UTC", "for", "subject", "people", "messages", "record"]);
        let mut first = None;
        let mut recorded = 0;
        list::each(self.reader()?, &ConversationFilter::default(), |conversation| {
            let mut row = list::row(&conversation);
            // All of it was just now; the room is for the people.
            row[1] = conversation.started_at.to_chrono().format("%H:%M").to_string();
            table.add_row(row);
            recorded += conversation.messages;
            first.get_or_insert(conversation.id);
            Ok(())
        })?;
        if first.is_some() {
            list::narrow(&mut table, WIDTH);
            self.say(&table.trim_fmt())?;
        }

        self.say("")?;
        for line in stage.tally(&self.heard) {
            self.say(&line)?;
        }
        self.say(&format!("The archive holds {recorded} messages (those that came with an invitation included)."))?;
        self.say("")?;
        let exit = verify::audit(
            &Layout::of(&self.dir).database,
            &AuditOptions::default(),
            &mut self.out,
            verify::Form::Text,
        )?;
        let (program, archive) = (program(), shell_quoted(&self.dir));
        let id = first.map_or_else(String::new, |id| format!("\n  {program} show --archive {archive} {id}"));
        self.say(&format!(
            "\nTry next:\n  {program} list --archive {archive}{id}\n  \
             {program} search --archive {archive} budget\n  \
             {program} export --archive {archive} --since 1970-01-01 --format html --output {archive}/export.zip\n  \
             {program} verify --archive {archive}\n  \
             {program} help serve"
        ))?;
        Ok(exit)
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        Ok(self.out.finish()?)
    }
}

/// An event as a sentence.
fn in_words(event: &Event) -> String {
    let content = &event.content;
    let who = content.actor.as_ref().map_or("somebody", name_of);
    let about = content.participant.as_ref().map(|p| p.name.as_deref().unwrap_or(&p.id)).unwrap_or("somebody");
    let lobby = if content.participant.as_ref().is_some_and(|p| p.in_lobby == Some(true)) {
        ", waits in the lobby"
    } else {
        ""
    };
    let text = || {
        content
            .message
            .as_ref()
            .map(|message| format!(": {}{}", short(&message.text), files(message)))
            .unwrap_or_default()
    };
    // Of a meeting in Teams both the call and the chat tell who comes and goes; both are on record.
    let told_by = match content.detail.as_ref() {
        Some(detail) if event.platform == "teams" && detail.get("meeting").is_some() => " (as the chat tells)",
        _ => "",
    };
    let why = || {
        let reason = content.reason.as_ref();
        let words: Vec<&str> = reason
            .map(|r| [&r.code, &r.subcode, &r.message].into_iter().filter_map(|part| part.as_deref()).collect())
            .unwrap_or_default();
        if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
    };
    let subject = || content.subject.as_ref().map(|subject| format!(" “{}”", short(subject))).unwrap_or_default();
    let reaction = || content.reaction.as_ref().map(|reaction| format!(": {}", short(reaction))).unwrap_or_default();
    match event.kind {
        Kind::InvitationReceived => format!("invited by {who}{}{}", subject(), invitation(event)),
        Kind::InvitationAccepted => "invitation accepted".to_owned(),
        Kind::InvitationDeclined => format!("invitation declined{}", why()),
        Kind::InvitationFailed => format!("invitation failed{}", why()),
        Kind::ConversationStarted => format!("conversation started{}", subject()),
        Kind::ConversationEnded => format!("conversation ended{}", why()),
        Kind::RecordingStarted => "from here on messages are recorded".to_owned(),
        Kind::RecordingStopped => "from here on messages do not reach the recorder".to_owned(),
        Kind::NoticeSent => format!("told everybody{}", text()),
        Kind::ParticipantJoined => format!("{about} joined{lobby}{told_by}"),
        Kind::ParticipantLeft => format!("{about} left{}{told_by}", why()),
        Kind::ParticipantChanged => {
            let participant = content.participant.as_ref();
            let admitted = participant.is_some_and(|p| p.in_lobby == Some(false));
            let role = participant.and_then(|p| p.role.as_deref()).map(|role| format!(" is {role} now"));
            format!(
                "{about}{}",
                if admitted { " was let in".to_owned() } else { role.unwrap_or_else(|| " changed".into()) }
            )
        }
        Kind::ConversationChanged => match &content.state {
            Some(state) => format!("conversation is {state} now{}", subject()),
            None => format!("conversation changed{}", subject()),
        },
        Kind::MessageEdited => format!("{who} changed a message{}", text()),
        Kind::MessageDeleted => format!("{who} deleted a message"),
        Kind::ReactionAdded => format!("{who} reacted{}", reaction()),
        Kind::ReactionRemoved => format!("{who} took a reaction back{}", reaction()),
        Kind::SharingStarted => format!("{who} began to share a screen or program"),
        Kind::SharingEnded => format!("{who} stopped sharing"),
        Kind::MessageSent => format!("{who} said{}", text()),
        Kind::MessageUndelivered => format!("not delivered{}", text()),
        Kind::CaptureGap => match &content.gap {
            Some(gap) => format!("GAP of {:.1} s: {}", gap.to.since(gap.from).as_secs_f64(), gap.cause),
            None => "GAP".to_owned(),
        },
        other => format!("{other}{}", subject()),
    }
}

/// What kind of invitation it is, where that is not plain from the rest.
fn invitation(event: &Event) -> &'static str {
    let detail = event.content.detail.as_ref();
    let member = |name: &str| detail.and_then(|detail| detail.get(name));
    if member("policy_recording").and_then(serde_json::Value::as_bool) == Some(true) {
        " because a recording policy says so"
    } else if event.platform == "teams" && member("modality").and_then(serde_json::Value::as_str) == Some("chat") {
        " to the chat"
    } else {
        ""
    }
}

/// Names of the files that came with a message.
fn files(message: &Message) -> String {
    let named = message.attachments.iter().filter_map(|file| file.name.as_deref());
    named.map(|name| format!(" [{}]", short(name))).collect()
}

fn name_of(person: &Person) -> &str {
    person.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&person.id)
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
