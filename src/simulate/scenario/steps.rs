//! The `[[step]]` tables: one verb each (`do = "…"`), in order.

use std::time::Duration;

use super::reader::{Reader, ScenarioError, Source};
use super::{Person, sub_tables};
use crate::simulate::fault::{Effect, Fault, Target};
use crate::simulate::text::Encoding;

/// One step, ready to be played.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub line: usize,
    /// Pause before it.
    pub after: Duration,
    pub act: Act,
}

/// A text with its spelling on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Words {
    pub text: Option<String>,
    pub html: Option<String>,
    pub encoding: Encoding,
    pub charset: String,
    /// A line break is added to the plain text on the wire.
    pub line_break: bool,
}

/// What a `wait_for` waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub kind: ConditionKind,
    pub talk: String,
    pub count: u64,
}

/// See `docs/SCENARIOS.md`, "wait_for".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConditionKind {
    Application,
    Available,
    Polling,
    Joined,
    Connected,
    Disconnected,
    Left,
    Sent,
    AddMessaging,
    Acknowledged,
    NoApplication,
    Refused,
}

/// Names of the conditions in files.
const CONDITIONS: &[(&str, ConditionKind)] = &[
    ("application", ConditionKind::Application),
    ("available", ConditionKind::Available),
    ("polling", ConditionKind::Polling),
    ("joined", ConditionKind::Joined),
    ("connected", ConditionKind::Connected),
    ("disconnected", ConditionKind::Disconnected),
    ("left", ConditionKind::Left),
    ("sent", ConditionKind::Sent),
    ("add_messaging", ConditionKind::AddMessaging),
    ("acknowledged", ConditionKind::Acknowledged),
    ("no_application", ConditionKind::NoApplication),
    ("refused", ConditionKind::Refused),
];

/// What a step does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Pause,
    Narrate(String),
    WaitFor {
        condition: Condition,
        within: Duration,
    },
    InviteMeeting {
        talk: String,
        by: String,
        subject: String,
        people: Vec<String>,
        importance: &'static str,
        lobby: bool,
        conflicts: u32,
        from_link: bool,
        unprompted: bool,
        modalities: Vec<String>,
    },
    InviteChat {
        talk: String,
        by: String,
        subject: String,
        words: Option<Words>,
        importance: &'static str,
        repeat_first: bool,
        unprompted: bool,
    },
    InviteOther {
        talk: String,
        by: String,
        rel: &'static str,
    },
    CancelInvitation {
        talk: String,
        code: String,
        subcode: String,
    },
    Say {
        talk: String,
        by: String,
        words: Words,
        times: u64,
        every: Duration,
        announce: bool,
    },
    Typing {
        talk: String,
        by: String,
        on: bool,
    },
    Join {
        talk: String,
        who: String,
        role: &'static str,
        lobby: bool,
        embedded: bool,
    },
    Leave {
        talk: String,
        who: String,
        subcode: Option<String>,
    },
    Role {
        talk: String,
        who: String,
        role: &'static str,
    },
    Admit {
        talk: String,
        who: Option<String>,
    },
    Deny {
        talk: String,
        who: Option<String>,
    },
    Eject {
        talk: String,
    },
    DropMessaging {
        talk: String,
        subcode: String,
        offer: bool,
    },
    OfferMessaging {
        talk: String,
    },
    AudienceMessaging {
        talk: String,
        on: bool,
    },
    Conflicts {
        talk: String,
        times: u32,
    },
    FailSends {
        talk: String,
        times: u32,
    },
    Escalate {
        talk: String,
        by: String,
        add: Vec<String>,
        new_href: bool,
        invite: bool,
    },
    Idle {
        talk: String,
    },
    Modality {
        talk: String,
        who: String,
        rel: String,
        kind: &'static str,
    },
    Subject {
        talk: String,
        subject: String,
    },
    End {
        talk: String,
        deleted_only: bool,
    },
    Event {
        talk: Option<String>,
        sender: String,
        rel: String,
        href: String,
        kind: String,
        body: Option<serde_json::Value>,
        priority: &'static str,
    },
    Fault(Fault),
}

const VERBS: &[&str] = &[
    "pause",
    "narrate",
    "wait_for",
    "invite_meeting",
    "invite_chat",
    "invite_other",
    "cancel_invitation",
    "say",
    "typing",
    "join",
    "leave",
    "role",
    "admit",
    "deny",
    "eject",
    "drop_messaging",
    "offer_messaging",
    "audience_messaging",
    "conflicts",
    "fail_sends",
    "escalate",
    "idle",
    "modality",
    "subject",
    "end",
    "event",
    "fault",
    "repeat",
];

/// Reads one step, or several out of a `repeat`, onto `steps`.
pub(super) fn read<'a>(
    source: &'a Source<'a>,
    mut r: Reader<'a>,
    cast: &[Person],
    steps: &mut Vec<Step>,
) -> Result<(), ScenarioError> {
    let verb = r.word("do", VERBS, "")?;
    if verb.is_empty() {
        return Err(r.error("key \"do\" is missing: the verb of the step"));
    }
    r.rename(format!("step \"{verb}\""));
    let after = Duration::from_millis(r.number("after_ms", 0)?);
    if verb == "repeat" {
        let times = r.number("times", 1)?;
        for i in 1..=times {
            for mut inner in sub_tables(source, &r, "step", "step")? {
                inner.index = Some(i);
                read(source, inner, cast, steps)?;
            }
        }
        return r.finish();
    }
    let act = read_act(&r, verb, cast)?;
    r.finish()?;
    steps.push(Step { line: r.line(), after, act });
    Ok(())
}

fn read_act(r: &Reader<'_>, verb: &str, cast: &[Person]) -> Result<Act, ScenarioError> {
    let known = |id: String| {
        if cast.iter().any(|p| p.id == id) {
            Ok(id)
        } else {
            Err(r.error(format!("\"{id}\" is not in the cast ([[person]])")))
        }
    };
    let person = |key: &'static str| known(r.text(key)?);
    let people =
        |key: &'static str| r.texts(key)?.unwrap_or_default().into_iter().map(known).collect::<Result<Vec<_>, _>>();
    let talk = || r.text("in");
    let importance = || r.word("importance", &["Normal", "Urgent", "Emergency"], "Normal");
    let role = |default| r.word("role", &["Leader", "Attendee"], default);
    Ok(match verb {
        "pause" => Act::Pause,
        "narrate" => Act::Narrate(r.text("text")?),
        "wait_for" => {
            let names: Vec<&'static str> = CONDITIONS.iter().map(|(n, _)| *n).collect();
            let what = r.word("what", &names, "")?;
            let kind = CONDITIONS.iter().find(|(n, _)| *n == what).map(|(_, k)| *k);
            let kind = kind.ok_or_else(|| r.error("key \"what\" is missing: what to wait for"))?;
            let optional = matches!(
                kind,
                ConditionKind::Application
                    | ConditionKind::Available
                    | ConditionKind::Polling
                    | ConditionKind::Acknowledged
                    | ConditionKind::NoApplication
                    | ConditionKind::Refused
            );
            let talk = if optional { r.opt_text("in")?.unwrap_or_default() } else { talk()? };
            let condition = Condition { kind, talk, count: r.number("count", 1)? };
            Act::WaitFor { condition, within: Duration::from_millis(r.number("within_ms", 30_000)?) }
        }
        "invite_meeting" => Act::InviteMeeting {
            talk: talk()?,
            by: person("by")?,
            subject: r.opt_text("subject")?.unwrap_or_default(),
            people: people("people")?,
            importance: importance()?,
            lobby: r.flag("lobby", false)?,
            conflicts: r.small("conflicts", 0)?,
            from_link: r.flag("from_link", false)?,
            unprompted: r.flag("auto_accept", false)?,
            modalities: r.texts("modalities")?.unwrap_or_else(|| vec!["Messaging".to_owned()]),
        },
        "invite_chat" => Act::InviteChat {
            talk: talk()?,
            by: person("by")?,
            subject: r.opt_text("subject")?.unwrap_or_default(),
            words: words(r)?,
            importance: importance()?,
            repeat_first: r.flag("repeat_first", true)?,
            unprompted: r.flag("auto_accept", false)?,
        },
        "invite_other" => Act::InviteOther {
            talk: talk()?,
            by: person("by")?,
            rel: r.word(
                "rel",
                &["phoneAudioInvitation", "audioVideoInvitation", "participantInvitation"],
                "audioVideoInvitation",
            )?,
        },
        "cancel_invitation" => Act::CancelInvitation {
            talk: talk()?,
            code: r.opt_text("code")?.unwrap_or_else(|| "RemoteFailure".to_owned()),
            subcode: r.opt_text("subcode")?.unwrap_or_else(|| "Canceled".to_owned()),
        },
        "say" => Act::Say {
            talk: talk()?,
            by: person("by")?,
            words: words(r)?.ok_or_else(|| r.error("key \"text\" or \"html\" is missing"))?,
            times: r.number("times", 1)?,
            every: Duration::from_millis(r.number("every_ms", 0)?),
            announce: r.flag("announce", false)?,
        },
        "typing" => Act::Typing { talk: talk()?, by: person("by")?, on: r.flag("on", true)? },
        "join" => Act::Join {
            talk: talk()?,
            who: person("who")?,
            role: role("Attendee")?,
            lobby: r.flag("lobby", false)?,
            embedded: r.flag("embedded", false)?,
        },
        "leave" => Act::Leave { talk: talk()?, who: person("who")?, subcode: r.opt_text("subcode")? },
        "role" => Act::Role { talk: talk()?, who: person("who")?, role: role("Leader")? },
        "admit" => Act::Admit { talk: talk()?, who: r.opt_text("who")?.map(known).transpose()? },
        "deny" => Act::Deny { talk: talk()?, who: r.opt_text("who")?.map(known).transpose()? },
        "eject" => Act::Eject { talk: talk()? },
        "drop_messaging" => Act::DropMessaging {
            talk: talk()?,
            subcode: r.opt_text("subcode")?.unwrap_or_else(|| "Removed".to_owned()),
            offer: r.flag("offer", true)?,
        },
        "offer_messaging" => Act::OfferMessaging { talk: talk()? },
        "audience_messaging" => Act::AudienceMessaging { talk: talk()?, on: r.flag("on", true)? },
        "conflicts" => Act::Conflicts { talk: talk()?, times: r.small("times", 1)? },
        "fail_sends" => Act::FailSends { talk: talk()?, times: r.small("times", 1)? },
        "escalate" => Act::Escalate {
            talk: talk()?,
            by: person("by")?,
            add: people("add")?,
            new_href: r.word("href", &["same", "new"], "new")? == "new",
            invite: r.flag("invite", true)?,
        },
        "idle" => Act::Idle { talk: talk()? },
        "modality" => Act::Modality {
            talk: talk()?,
            who: person("who")?,
            rel: r.text("rel")?,
            kind: r.word("type", &["added", "updated", "deleted"], "added")?,
        },
        "subject" => Act::Subject { talk: talk()?, subject: r.text("subject")? },
        "end" => Act::End { talk: talk()?, deleted_only: r.flag("deleted_only", false)? },
        "event" => Act::Event {
            talk: r.opt_text("in")?,
            sender: r.opt_text("sender")?.unwrap_or_else(|| "conversation".to_owned()),
            rel: r.text("rel")?,
            href: r.opt_text("href")?.unwrap_or_default(),
            kind: r.opt_text("type")?.unwrap_or_else(|| "updated".to_owned()),
            body: match r.opt_text("json")? {
                None => None,
                Some(json) => {
                    Some(serde_json::from_str(&json).map_err(|e| r.error(format!("key \"json\" is not JSON: {e}")))?)
                }
            },
            priority: r.word("priority", &["high", "medium", "low"], "high")?,
        },
        "fault" => Act::Fault(read_fault(r)?),
        other => return Err(r.error(format!("the verb \"{other}\" cannot be read"))),
    })
}

fn words(r: &Reader<'_>) -> Result<Option<Words>, ScenarioError> {
    let words = Words {
        text: r.opt_text("text")?,
        html: r.opt_text("html")?,
        encoding: match r.word("encoding", &["form", "base64"], "form")? {
            "base64" => Encoding::Base64,
            _ => Encoding::Form,
        },
        charset: r.opt_text("charset")?.unwrap_or_else(|| "utf-8".to_owned()),
        line_break: r.flag("line_break", true)?,
    };
    if !words.charset.is_empty() && encoding_rs::Encoding::for_label(words.charset.as_bytes()).is_none() {
        return Err(r.error(format!("key \"charset\": \"{}\" is not a charset", words.charset)));
    }
    let present = words.text.is_some() || words.html.is_some();
    Ok(present.then_some(words))
}

/// Kinds of faults in files.
const FAULTS: &[&str] = &[
    "status",
    "invalid_ticket",
    "unauthorized",
    "html",
    "redirect",
    "bom",
    "malformed",
    "short",
    "reset",
    "silence",
    "stall",
    "slow",
    "expire_tickets",
    "kill_application",
    "expire_application",
    "resync",
    "resume",
    "second_client",
    "duplicate_batch",
    "down",
    "cut",
    "password",
    "redirect_root",
    "redirect_loop",
];

fn read_fault(r: &Reader<'_>) -> Result<Fault, ScenarioError> {
    let kind = r.word("kind", FAULTS, "")?;
    let ms = |key: &'static str, default| Ok::<_, ScenarioError>(Duration::from_millis(r.number(key, default)?));
    let effect = match kind {
        "status" => Effect::Status {
            status: u16::try_from(r.number("status", 503)?).unwrap_or(503),
            subcode: r.opt_text("subcode")?,
            retry_after: r.opt_number("retry_after_seconds")?,
        },
        "invalid_ticket" => Effect::InvalidTicket,
        "unauthorized" => Effect::Unauthorized,
        "html" => Effect::Html(u16::try_from(r.number("status", 200)?).unwrap_or(200)),
        "redirect" => Effect::Redirect(r.text("to")?),
        "bom" => Effect::Bom,
        "malformed" => Effect::Malformed,
        "short" => Effect::Short,
        "reset" => Effect::Reset,
        "silence" => Effect::Silence,
        "stall" => Effect::Stall(ms("for_ms", 1_000)?),
        "slow" => Effect::Slow(usize::try_from(r.number("pieces", 40)?).unwrap_or(40), ms("pause_ms", 5)?),
        "expire_tickets" => return Ok(Fault::ExpireTickets),
        "kill_application" => return Ok(Fault::KillApplication),
        "expire_application" => return Ok(Fault::ExpireApplication),
        "resync" => return Ok(Fault::Resync),
        "resume" => return Ok(Fault::Resume),
        "second_client" => return Ok(Fault::SecondClient),
        "duplicate_batch" => return Ok(Fault::DuplicateBatch),
        "down" => return Ok(Fault::Down { length: ms("for_ms", 2_000)?, lost: r.flag("lost", false)? }),
        "cut" => return Ok(Fault::CutConnections),
        "password" => return Ok(Fault::Password(r.text("to")?)),
        "redirect_root" => return Ok(Fault::RedirectRoot(r.text("to")?)),
        "redirect_loop" => return Ok(Fault::RedirectLoop),
        _ => return Err(r.error("key \"kind\" is missing: what breaks")),
    };
    let target = match r.opt_text("path")? {
        Some(path) => Target::Path(path),
        None => match r.word("on", &["channel", "commands", "any"], "channel")? {
            "commands" => Target::Commands,
            "any" => Target::Any,
            _ => Target::Channel,
        },
    };
    Ok(Fault::Answers { target, skip: r.small("skip", 0)?, times: r.small("times", 1)?, effect })
}
