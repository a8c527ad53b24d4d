//! The `[pool]` table: how the pool signs people in, spells its answers and how patient it is.

use super::reader::{Reader, ScenarioError};

/// How participant names stand in the `title` of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Titles {
    /// Empty in two-party conversations, filled in meetings, as observed.
    ByKind,
    /// Always empty.
    Empty,
    /// Always filled.
    Filled,
}

/// Where discovery takes a detour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detour {
    /// Nowhere.
    None,
    /// The root answers with a redirect to another root.
    Root,
    /// The user resource answers with a redirect to a root on a further origin.
    User,
}

/// How the simulated pool behaves. Every value has a default; milliseconds everywhere unless the name says seconds.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The recorder's sign-in address, `sip:…`.
    pub sign_in: String,
    /// The recorder's display name.
    pub name: String,
    /// User name for the password grant.
    pub username: String,
    /// Password.
    pub password: String,
    /// Seed of all invented identifiers.
    pub seed: u64,
    /// Fixed start of the server's clock (RFC 3339 in the file, here ms since 1970 UTC), one second per message; `None`: real time.
    pub epoch_ms: Option<i64>,
    /// Where discovery takes a detour.
    pub detour: Detour,
    /// Discovery and pool are one origin.
    pub single_origin: bool,
    /// Both challenges in one header field.
    pub challenge_joined: bool,
    /// The ticket href in the challenge is quoted.
    pub challenge_quotes: bool,
    /// The Bearer challenge has `authorization_uri`.
    pub challenge_uri: bool,
    /// Grant types advertised and accepted.
    pub grants: Vec<String>,
    /// Life of a ticket in seconds.
    pub token_seconds: u64,
    /// Password failures after which even the right password is refused; 0: never.
    pub lockout_after: u32,
    /// Hrefs carry scheme and host.
    pub absolute_hrefs: bool,
    /// `\/Date(…)\/` instead of `/Date(…)/`.
    pub escape_dates: bool,
    /// Rels that are sent as links only.
    pub link_only: Vec<String>,
    /// Rels that are embedded although the documents show them as links.
    pub embed: Vec<String>,
    /// Names in link titles.
    pub titles: Titles,
    /// Unknown properties, links and events are mixed in.
    pub strangers: bool,
    /// Longest a poll is held; replaces the client's `timeout` if shorter. `None`: as the client asks, at least 180 s.
    pub poll_timeout_ms: Option<u64>,
    /// Longest that medium priority events wait.
    pub medium_ms: u64,
    /// Longest that low priority events wait.
    pub low_ms: u64,
    /// Most events in one batch.
    pub max_events: usize,
    /// A batch that is asked for again comes with what has happened since.
    pub append_on_repeat: bool,
    /// How long an incoming message waits to be fetched.
    pub forget_after_ms: u64,
    /// How long an unanswered invitation rings.
    pub invitation_timeout_ms: u64,
    /// From `accept` to being in.
    pub accept_delay_ms: u64,
    /// From addMessaging to being connected.
    pub connect_delay_ms: u64,
    /// Silence on the channel after which the application ends.
    pub poll_patience_ms: u64,
    /// Time without reportMyActivity after which the application ends.
    pub activity_patience_ms: u64,
    /// Silence on the channel after which conversations are closed and `resume` is answered; 0: never.
    pub resume_after_ms: u64,
    /// Most applications of the account at a time.
    pub max_applications: usize,
    /// `messageArchiving` of the policies.
    pub message_archiving: bool,
    /// `htmlMessaging` of the policies; without it only Plain is negotiated.
    pub html_messaging: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        PoolOptions {
            sign_in: "sip:recorder@contoso.example".to_owned(),
            name: "Recorder".to_owned(),
            username: "CONTOSO\\recorder".to_owned(),
            password: "s3cr&t+50%=\\ü".to_owned(),
            seed: 1,
            epoch_ms: None,
            detour: Detour::None,
            single_origin: false,
            challenge_joined: false,
            challenge_quotes: true,
            challenge_uri: false,
            grants: ["urn:microsoft.rtc:windows", "urn:microsoft.rtc:anonmeeting", "password"]
                .map(str::to_owned)
                .to_vec(),
            token_seconds: 28_289,
            lockout_after: 0,
            absolute_hrefs: false,
            escape_dates: true,
            link_only: Vec::new(),
            embed: Vec::new(),
            titles: Titles::ByKind,
            strangers: false,
            poll_timeout_ms: None,
            medium_ms: 5_000,
            low_ms: 15_000,
            max_events: 100,
            append_on_repeat: true,
            forget_after_ms: 30_000,
            invitation_timeout_ms: 30_000,
            accept_delay_ms: 40,
            connect_delay_ms: 40,
            poll_patience_ms: 900_000,
            activity_patience_ms: 900_000,
            resume_after_ms: 0,
            max_applications: 8,
            message_archiving: true,
            html_messaging: true,
        }
    }
}

impl PoolOptions {
    pub(super) fn read(r: &Reader<'_>) -> Result<Self, ScenarioError> {
        let d = PoolOptions::default();
        let epoch_ms = match r.opt_text("epoch")? {
            None => None,
            Some(text) => Some(
                crate::model::Timestamp::parse_rfc3339(&text)
                    .ok_or_else(|| r.error("key \"epoch\" must be a time like \"2026-11-21T09:00:00Z\""))?
                    .millis(),
            ),
        };
        let options = PoolOptions {
            sign_in: r.opt_text("sign_in")?.unwrap_or(d.sign_in),
            name: r.opt_text("name")?.unwrap_or(d.name),
            username: r.opt_text("username")?.unwrap_or(d.username),
            password: r.opt_text("password")?.unwrap_or(d.password),
            seed: r.number("seed", d.seed)?,
            epoch_ms,
            detour: match r.word("redirect", &["none", "root", "user"], "none")? {
                "root" => Detour::Root,
                "user" => Detour::User,
                _ => Detour::None,
            },
            single_origin: r.flag("single_origin", d.single_origin)?,
            challenge_joined: r.flag("challenge_joined", d.challenge_joined)?,
            challenge_quotes: r.flag("challenge_quotes", d.challenge_quotes)?,
            challenge_uri: r.flag("challenge_uri", d.challenge_uri)?,
            grants: r.texts("grants")?.unwrap_or(d.grants),
            token_seconds: r.number("token_seconds", d.token_seconds)?,
            lockout_after: r.small("lockout_after", d.lockout_after)?,
            absolute_hrefs: r.flag("absolute_hrefs", d.absolute_hrefs)?,
            escape_dates: r.flag("escape_dates", d.escape_dates)?,
            link_only: r.texts("link_only")?.unwrap_or(d.link_only),
            embed: r.texts("embed")?.unwrap_or(d.embed),
            titles: match r.word("titles", &["by-kind", "empty", "filled"], "by-kind")? {
                "empty" => Titles::Empty,
                "filled" => Titles::Filled,
                _ => Titles::ByKind,
            },
            strangers: r.flag("strangers", d.strangers)?,
            poll_timeout_ms: r.opt_number("poll_timeout_ms")?,
            medium_ms: r.number("medium_ms", d.medium_ms)?,
            low_ms: r.number("low_ms", d.low_ms)?,
            max_events: usize::try_from(r.number("max_events", 100)?).unwrap_or(usize::MAX).max(1),
            append_on_repeat: r.flag("append_on_repeat", d.append_on_repeat)?,
            forget_after_ms: r.number("forget_after_ms", d.forget_after_ms)?,
            invitation_timeout_ms: r.number("invitation_timeout_ms", d.invitation_timeout_ms)?,
            accept_delay_ms: r.number("accept_delay_ms", d.accept_delay_ms)?,
            connect_delay_ms: r.number("connect_delay_ms", d.connect_delay_ms)?,
            poll_patience_ms: r.number("poll_patience_ms", d.poll_patience_ms)?,
            activity_patience_ms: r.number("activity_patience_ms", d.activity_patience_ms)?,
            resume_after_ms: r.number("resume_after_ms", d.resume_after_ms)?,
            max_applications: usize::try_from(r.number("max_applications", 8)?).unwrap_or(usize::MAX),
            message_archiving: r.flag("message_archiving", d.message_archiving)?,
            html_messaging: r.flag("html_messaging", d.html_messaging)?,
        };
        r.finish()?;
        if !options.sign_in.starts_with("sip:") || !options.sign_in.contains('@') {
            return Err(r.error("key \"sign_in\" must look like sip:name@domain"));
        }
        Ok(options)
    }
}
