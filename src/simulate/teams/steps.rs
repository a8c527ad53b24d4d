//! Steps of a scenario as they stand in its file.

use std::time::Duration;

use serde_json::Value;

use super::super::scenario::reader::{Reader, ScenarioError, Source, sub_tables};
use super::act::{Act, CALL_KINDS, CONDITIONS, Condition, ConditionKind};
use super::call::Invite;
use super::cast::Member;
use super::chat::ChatKind;
use super::fault::{Effect, Fault, Spoiled};
use super::keys::{BadToken, Signer};
use super::ledger::Path;
use super::speech::Words;

/// A step: what, and the pause before it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub line: usize,
    pub after: Duration,
    pub deed: Deed,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Pause,
    Act(Act),
    /// Somebody says something so often; `{n}` counts.
    Repeat {
        chat: String,
        by: String,
        words: Box<Words>,
        times: u64,
        every: Duration,
    },
    WaitFor {
        condition: Condition,
        within: Duration,
    },
}

const VERBS: &[&str] = &[
    "pause",
    "narrate",
    "wait_for",
    "repeat",
    "create_chat",
    "add_members",
    "remove_members",
    "rename",
    "say",
    "edit",
    "delete",
    "undelete",
    "block",
    "react",
    "unreact",
    "system",
    "call",
    "join",
    "leave",
    "admit",
    "mute",
    "unmute",
    "share",
    "unshare",
    "policy_join",
    "policy_leave",
    "state",
    "tone",
    "end",
    "abandon",
    "eject",
    "install",
    "uninstall",
    "activity",
    "notify",
    "fault",
];

type Result<T> = std::result::Result<T, ScenarioError>;

/// Reads one step, or several out of a `repeat`, onto `steps`.
pub(super) fn read<'a>(
    source: &'a Source<'a>,
    mut r: Reader<'a>,
    cast: &[Member],
    steps: &mut Vec<Step>,
) -> Result<()> {
    let verb = r.word("do", VERBS, "")?;
    if verb.is_empty() {
        return Err(r.error("key \"do\" is missing: the verb of the step"));
    }
    r.rename(format!("step \"{verb}\""));
    let after = Duration::from_millis(r.number("after_ms", 0)?);
    if verb == "repeat" {
        for i in 1..=r.number("times", 1)? {
            for mut inner in sub_tables(source, &r, "step", "step")? {
                inner.index = Some(i);
                read(source, inner, cast, steps)?;
            }
        }
        return r.finish();
    }
    let deed = read_deed(&r, verb, cast)?;
    r.finish()?;
    steps.push(Step { line: r.line(), after, deed });
    Ok(())
}

fn read_deed(r: &Reader<'_>, verb: &str, cast: &[Member]) -> Result<Deed> {
    let known = |id: String| {
        if cast.iter().any(|p| p.id == id) {
            Ok(id)
        } else {
            Err(r.error(format!("\"{id}\" is not in the cast ([[person]])")))
        }
    };
    let person = |key: &'static str| known(r.text(key)?);
    let people =
        |key: &'static str| r.texts(key)?.unwrap_or_default().into_iter().map(known).collect::<Result<Vec<_>>>();
    let name = || r.text("in");
    let label = || r.opt_text("message");
    Ok(Deed::Act(match verb {
        "pause" => return Ok(Deed::Pause),
        "narrate" => Act::Narrate(r.text("text")?),
        "wait_for" => return wait_for(r),
        "create_chat" => Act::CreateChat {
            chat: name()?,
            kind: match r.word("kind", &["group", "one_on_one", "meeting", "channel"], "group")? {
                "one_on_one" => ChatKind::OneOnOne,
                "meeting" => ChatKind::Meeting,
                "channel" => {
                    ChatKind::Channel { team: r.opt_text("team")?.unwrap_or_else(|| super::cast::invented("team")) }
                }
                _ => ChatKind::Group,
            },
            topic: r.opt_text("topic")?.unwrap_or_default(),
            people: people("people")?,
        },
        "add_members" => Act::AddMembers { chat: name()?, by: person("by")?, people: people("people")? },
        "remove_members" => Act::RemoveMembers { chat: name()?, by: person("by")?, people: people("people")? },
        "rename" => Act::Rename { chat: name()?, by: person("by")?, topic: r.text("topic")? },
        "say" => {
            let (chat, by, words) = (name()?, person("by")?, words(r, &known)?);
            let (times, every) = (r.number("times", 1)?, Duration::from_millis(r.number("every_ms", 0)?));
            if times != 1 {
                return Ok(Deed::Repeat { chat, by, words: Box::new(words), times, every });
            }
            Act::Say { chat, by, words: Box::new(words), label: r.opt_text("as")? }
        }
        "edit" => Act::Edit { chat: name()?, label: label()?, text: r.text("text")? },
        "delete" => Act::Delete { chat: name()?, label: label()? },
        "undelete" => Act::Undelete { chat: name()?, label: label()? },
        "block" => Act::Block { chat: name()?, label: label()? },
        "react" | "unreact" => Act::React {
            chat: name()?,
            label: label()?,
            by: person("by")?,
            reaction: r.opt_text("reaction")?.unwrap_or_else(|| "like".to_owned()),
            on: verb == "react",
        },
        "system" => Act::System {
            chat: name()?,
            by: r.opt_text("by")?.map(known).transpose()?.unwrap_or_default(),
            kind: r.text("kind")?,
            detail: json(r)?.unwrap_or_else(|| serde_json::json!({})),
        },
        "call" => {
            let names: Vec<&'static str> = CALL_KINDS.iter().map(|(n, _)| *n).collect();
            let kind = r.word("kind", &names, "meeting")?;
            let kind = CALL_KINDS.iter().find(|(n, _)| *n == kind).map(|(_, k)| *k);
            Act::Invite(Invite {
                name: name()?,
                by: person("by")?,
                kind: kind.ok_or_else(|| r.error("key \"kind\" is missing"))?,
                subject: r.opt_text("subject")?.unwrap_or_default(),
                people: people("people")?,
                policy: people("policy")?,
                concurrent: r.small("concurrent", 1)?,
                chat: r.flag("chat", true)?,
            })
        }
        "join" => Act::Join {
            call: name()?,
            who: person("who")?,
            lobby: r.flag("lobby", false)?,
            metadata: r.opt_text("metadata")?,
        },
        "leave" => Act::Leave { call: name()?, who: person("who")? },
        "admit" => Act::Admit { call: name()?, who: person("who")? },
        "mute" | "unmute" => Act::Mute { call: name()?, who: person("who")?, on: verb == "mute" },
        "share" | "unshare" => Act::Share { call: name()?, who: person("who")?, on: verb == "share" },
        "policy_join" => Act::PolicyJoin { call: name()?, who: person("who")? },
        "policy_leave" => Act::PolicyLeave { call: name()?, who: person("who")? },
        "state" => Act::State { call: name()?, state: r.text("state")? },
        "tone" => Act::Tone { call: name()?, tone: r.opt_text("tone")?.unwrap_or_else(|| "tone1".to_owned()) },
        "end" => Act::End { call: name()? },
        "abandon" => Act::Abandon { call: name()? },
        "eject" => Act::Eject { call: name()? },
        "install" | "uninstall" => Act::Install { chat: name()?, by: person("by")?, on: verb == "install" },
        "activity" => Act::Activity {
            chat: name()?,
            by: person("by")?,
            kind: r.text("type")?,
            body: json(r)?.unwrap_or_else(|| serde_json::json!({})),
        },
        "notify" => Act::Notify {
            call: name()?,
            change: r.word("change", &["created", "updated", "deleted"], "updated")?.to_owned(),
            tail: r.opt_text("tail")?.unwrap_or_default(),
            body: json(r)?.unwrap_or_default(),
        },
        "fault" => Act::Fault(fault(r)?),
        other => return Err(r.error(format!("the verb \"{other}\" cannot be read"))),
    }))
}

fn wait_for(r: &Reader<'_>) -> Result<Deed> {
    let names: Vec<&'static str> = CONDITIONS.iter().map(|(n, _)| *n).collect();
    let what = r.word("what", &names, "")?;
    let kind: Option<ConditionKind> = CONDITIONS.iter().find(|(n, _)| *n == what).map(|(_, k)| *k);
    let kind = kind.ok_or_else(|| r.error("key \"what\" is missing: what to wait for"))?;
    let condition = Condition { kind, name: r.opt_text("in")?.unwrap_or_default(), count: r.number("count", 1)? };
    Ok(Deed::WaitFor { condition, within: Duration::from_millis(r.number("within_ms", 30_000)?) })
}

fn json(r: &Reader<'_>) -> Result<Option<Value>> {
    let text = r.opt_text("json")?;
    text.map(|t| serde_json::from_str(&t).map_err(|e| r.error(format!("key \"json\" is not JSON: {e}")))).transpose()
}

/// An image of one red dot, for messages with an image.
const DOT: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 1, 0, 0, 0, 1, 8,
    2, 0, 0, 0, 0x90, 0x77, 0x53, 0xde, 0, 0, 0, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x08, 0xd7, 0x63, 0xf8, 0xcf, 0xc0, 0,
    0, 3, 1, 1, 0, 0x18, 0xdd, 0x8d, 0xb0, 0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

fn words(r: &Reader<'_>, known: &dyn Fn(String) -> Result<String>) -> Result<Words> {
    let words = Words {
        text: r.opt_text("text")?,
        html: r.opt_text("html")?,
        mentions: r.texts("mentions")?.unwrap_or_default().into_iter().map(known).collect::<Result<_>>()?,
        image: r.flag("image", false)?.then(|| ("image/png".to_owned(), DOT.to_vec())),
        file: r.opt_text("file")?.map(|name| {
            let url = format!(
                "https://contoso.sharepoint.example/sites/team/Shared%20Documents/{}",
                super::tenant::escape(&name)
            );
            (name, url)
        }),
        card: r.opt_text("card")?,
        quote: r.opt_text("quote")?,
        reply_to: r.opt_text("reply_to")?,
        importance: Some(r.word("importance", &["normal", "high", "urgent"], "normal")?),
        subject: r.opt_text("subject")?,
    };
    if words.text.is_none()
        && words.html.is_none()
        && words.card.is_none()
        && words.file.is_none()
        && words.image.is_none()
    {
        return Err(r.error("key \"text\" or \"html\" is missing"));
    }
    Ok(words)
}

const FAULTS: &[&str] = &[
    "duplicate",
    "swap",
    "together",
    "untyped",
    "drop",
    "delay",
    "token",
    "bare_deleted",
    "code_string",
    "pascal_case",
    "client_state",
    "bad_signature",
    "changed_data",
    "unknown_certificate",
    "no_tokens",
    "garbage",
    "status",
    "slow",
    "html",
    "cut",
    "remove_subscription",
    "silent_stop",
    "reauthorize",
    "lifecycle",
    "rotate_keys",
    "expire_tokens",
    "secret",
    "secret_expired",
    "slow_handshake",
    "foreign_next_link",
    "foreign_service_url",
    "foreign_chat",
    "revoke",
];

const TOKENS: &[(&str, BadToken)] = &[
    ("audience", BadToken::Audience),
    ("issuer", BadToken::Issuer),
    ("key", BadToken::Key),
    ("unknown_kid", BadToken::UnknownKid),
    ("expired", BadToken::Expired),
    ("not_yet", BadToken::NotYet),
    ("no_tenant", BadToken::NoTenant),
    ("tenant", BadToken::Tenant),
    ("unsigned", BadToken::Unsigned),
    ("hmac", BadToken::Hmac),
    ("missing", BadToken::Missing),
    ("garbage", BadToken::Garbage),
    ("publisher", BadToken::Publisher),
    ("service_url", BadToken::ServiceUrl),
    ("endorsement", BadToken::Endorsement),
];

fn fault(r: &Reader<'_>) -> Result<Fault> {
    let ms = |key: &'static str, default| Ok::<_, ScenarioError>(Duration::from_millis(r.number(key, default)?));
    let part = || Ok::<_, ScenarioError>(r.opt_text("resource")?.unwrap_or_default());
    let effect = match r.word("kind", FAULTS, "")? {
        "duplicate" => Effect::Duplicate,
        "swap" => Effect::Swap,
        "together" => Effect::Together,
        "untyped" => Effect::Untyped,
        "drop" => Effect::Drop,
        "delay" => Effect::Delay(ms("for_ms", 1_000)?),
        "token" => {
            let names: Vec<&'static str> = TOKENS.iter().map(|(n, _)| *n).collect();
            let token = r.word("token", &names, "")?;
            let found = TOKENS.iter().find(|(n, _)| *n == token).map(|(_, b)| *b);
            Effect::Token(found.ok_or_else(|| r.error("key \"token\" is missing: how it is wrong"))?)
        }
        "bare_deleted" => Effect::Bare,
        "code_string" => Effect::CodeString,
        "pascal_case" => Effect::PascalCase,
        "client_state" => Effect::ClientState,
        "bad_signature" => Effect::BadSignature,
        "changed_data" => Effect::ChangedData,
        "unknown_certificate" => Effect::UnknownCertificate,
        "no_tokens" => Effect::NoTokens,
        "garbage" => Effect::Garbage,
        "status" => {
            let status = u16::try_from(r.number("status", 503)?).unwrap_or(503);
            let retry = r.opt_number("retry_after_ms")?.map(|ms| Duration::from_millis(ms).as_secs_f64());
            return answers(r, Spoiled::Status(status, retry));
        }
        "slow" => return answers(r, Spoiled::Slow(ms("for_ms", 1_000)?)),
        "html" => return answers(r, Spoiled::Html),
        "cut" => return answers(r, Spoiled::Cut),
        "remove_subscription" => return Ok(Fault::RemoveSubscription(part()?, r.flag("told", true)?)),
        "silent_stop" => return Ok(Fault::SilentStop(part()?)),
        "reauthorize" => return Ok(Fault::Reauthorize(part()?)),
        "lifecycle" => return Ok(Fault::Lifecycle(r.text("event")?, part()?)),
        "rotate_keys" => {
            let signer = match r.word("of", &["calls", "login", "bot"], "calls")? {
                "login" => Signer::Login,
                "bot" => Signer::Bot,
                _ => Signer::Calls,
            };
            return Ok(Fault::RotateKeys(signer, r.flag("forget", true)?));
        }
        "expire_tokens" => return Ok(Fault::ExpireTokens),
        "secret" => return Ok(Fault::Secret(r.text("to")?)),
        "secret_expired" => return Ok(Fault::SecretExpired),
        "slow_handshake" => return Ok(Fault::SlowHandshake(ms("for_ms", 1_000)?)),
        "foreign_next_link" => return Ok(Fault::ForeignNextLink),
        "foreign_service_url" => return Ok(Fault::ForeignServiceUrl),
        "foreign_chat" => return Ok(Fault::ForeignChat(r.text("in")?)),
        "revoke" => return Ok(Fault::Revoke(r.text("role")?)),
        _ => return Err(r.error("key \"kind\" is missing: what breaks")),
    };
    let path = match r.word("on", &["calls", "changes", "lifecycle", "activities"], "calls")? {
        "changes" => Path::Changes,
        "lifecycle" => Path::Lifecycle,
        "activities" => Path::Activities,
        _ => Path::Calls,
    };
    let what = r.opt_text("what")?.unwrap_or_default();
    Ok(Fault::Send { path, what, skip: r.small("skip", 0)?, times: r.small("times", 1)?, effect })
}

fn answers(r: &Reader<'_>, spoiled: Spoiled) -> Result<Fault> {
    let path = r.opt_text("path")?.unwrap_or_default();
    Ok(Fault::Answers { path, skip: r.small("skip", 0)?, times: r.small("times", 1)?, spoiled })
}
