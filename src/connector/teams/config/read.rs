//! From the table of the file to a [`TeamsConfig`]: every key, its default and its limits.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CLIENT_SECRET, Cloud, CredentialFrom, Endpoints, ListenerTls, Media, RejectReason, TeamsConfig, shape};
use crate::capture::Source;
use crate::config::{Placed, Problems, Section};

/// Subscriptions to messages live at most 4320 minutes (digest §12); a trial may want short ones.
const LIFE: RangeInclusive<u64> = 10..=259_200;
/// A call without keepAlive ends after 45 minutes (digest §7).
const KEEP_ALIVE: RangeInclusive<u64> = 1..=2_700;
const DAY: u64 = 86_400;
const YEAR: u64 = 366 * DAY;
const MODALITIES: &[&str] = &["audio", "video", "videoBasedScreenSharing", "data"];
const REASONS: &[(&str, RejectReason)] =
    &[("none", RejectReason::None), ("busy", RejectReason::Busy), ("forbidden", RejectReason::Forbidden)];
const PREFETCH: &str = "{ uri = \"https://cdn.contoso.com/beep.wav\", resource_id = \"1D6D…\" }";

impl TeamsConfig {
    /// Reads the table; `name` and `kind` have been read by the caller. `None` if a required key is missing or unusable,
    /// which is then among the problems.
    pub fn read(source: Source, section: Section<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<Self> {
        let mut table = Reading { section, folder, problems };
        let tenant_id = table.required("tenant_id", "the GUID of the customer's tenant", shape::tenant);
        let client_id = table.required("client_id", "the GUID of the app registration", shape::client);
        let credential = table.credential();
        let cloud = table.shaped("cloud", shape::cloud).unwrap_or(Cloud::Global);
        let ca_file = table.path("ca_file");
        let example = "where Teams reaches the recorder, for example callback_url = \"https://recorder.contoso.com\"";
        let callback_url = table.required("callback_url", example, shape::callback);
        let (listen, tls) = table.listener();
        let endpoints = Endpoints::of(cloud, tenant_id.as_deref().unwrap_or_default());
        let endpoints = endpoints.read(&mut table.section, table.problems);

        let accept_from = table.each("accept_from", |text| shape::pattern(text).map(|()| text.to_owned()));
        let accept_from =
            accept_from.unwrap_or_else(|| vec![format!("*@{}", tenant_id.as_deref().unwrap_or_default())]);
        let accept_policy_recording = table.flag("accept_policy_recording", true);
        let reject_reason = table.shaped("reject_reason", reason).unwrap_or(RejectReason::Forbidden);
        let media = table.media();
        let accepted_modalities = table.modalities();
        let participant_capacity = table.number("participant_capacity", 0..=10_000, 0);
        let content_sharing = table.flag("content_sharing", true);
        let delta_roster = table.flag("delta_roster", false);
        let report_recording_status = table.flag("report_recording_status", true);
        let keep_alive = table.seconds("keep_alive_seconds", KEEP_ALIVE, 600);
        let hang_up_after = table.seconds("hang_up_after_seconds", 0..=DAY, 60);

        let follow_call_chats = table.flag("follow_call_chats", true);
        let mut chat_scopes = table.each("chat_scopes", shape::scope).unwrap_or_default();
        chat_scopes.sort();
        chat_scopes.dedup();
        let model = table.shaped("model", model).unwrap_or_else(|| "A".to_owned());
        let encrypted_notifications = table.flag("encrypted_notifications", true);
        let subscription_life = table.seconds("subscription_seconds", LIFE, 259_200);
        let reconcile_every = table.seconds("reconcile_seconds", 1..=YEAR, DAY);
        let reconcile_window = table.seconds("reconcile_window_seconds", 1..=YEAR, 2 * DAY);
        let backfill_overlap = table.seconds("backfill_overlap_seconds", 0..=DAY, 300);
        let polls = table.section.integers("chat_polls_after_call", 0..=7 * DAY, table.problems);
        let chat_polls_after_call =
            polls.unwrap_or_else(|| vec![120, 3_600]).into_iter().map(Duration::from_secs).collect();
        let rotate_keys_every = Duration::from_secs(DAY * table.number("key_rotation_days", 0..=3_650, 180));
        table.section.finish(&[CLIENT_SECRET.itself], table.problems);

        Some(TeamsConfig {
            source,
            tenant_id: tenant_id?,
            client_id: client_id?,
            credential: credential?,
            cloud,
            ca_file,
            callback_url: callback_url?,
            listen,
            tls,
            endpoints,
            accept_from,
            accept_policy_recording,
            reject_reason,
            media: media?,
            accepted_modalities,
            participant_capacity: u32::try_from(participant_capacity).unwrap_or_default(),
            content_sharing,
            delta_roster,
            report_recording_status,
            keep_alive,
            hang_up_after,
            follow_call_chats,
            chat_scopes,
            model,
            encrypted_notifications,
            subscription_life,
            reconcile_every,
            reconcile_window,
            backfill_overlap,
            chat_polls_after_call,
            rotate_keys_every,
        })
    }
}

struct Reading<'a, 'f, 'p, 't> {
    section: Section<'a>,
    folder: &'f Path,
    problems: &'p mut Problems<'t>,
}

/// Two keys that belong together.
enum Pair {
    Absent,
    Both(Placed<PathBuf>, Placed<PathBuf>),
    /// Reported already.
    Wrong,
}

impl Reading<'_, '_, '_, '_> {
    fn wrong(&mut self, key: &str, span: std::ops::Range<usize>, why: impl std::fmt::Display) {
        self.problems.add(Some(span), format!("`{key}` of [[connector]]: {why}"));
    }

    fn good<T>(&mut self, key: &str, span: std::ops::Range<usize>, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.wrong(key, span, why)).ok()
    }

    fn shaped<T>(&mut self, key: &'static str, shape: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.section.string(key, self.problems)?;
        self.good(key, given.span, shape(&given.value))
    }

    fn required<T>(&mut self, key: &'static str, remedy: &str, shape: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.section.required(key, remedy, self.problems)?;
        self.good(key, given.span, shape(&given.value))
    }

    fn each<T>(&mut self, key: &'static str, shape: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let given = self.section.strings(key, self.problems)?;
        Some(given.into_iter().filter_map(|one| self.good(key, one.span, shape(&one.value))).collect())
    }

    fn path(&mut self, key: &'static str) -> Option<Placed<PathBuf>> {
        let given = self.section.string(key, self.problems)?;
        if given.value.is_empty() {
            self.wrong(key, given.span, "empty: name a file");
            return None;
        }
        Some(Placed { value: self.folder.join(given.value), span: given.span })
    }

    fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.section.boolean(key, self.problems).unwrap_or(default)
    }

    fn number(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.section.integer(key, range, self.problems).unwrap_or(default)
    }

    fn seconds(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> Duration {
        Duration::from_secs(self.number(key, range, default))
    }

    fn credential(&mut self) -> Option<CredentialFrom> {
        let given = CLIENT_SECRET.given(&self.section);
        let secret = CLIENT_SECRET.read(&mut self.section, self.folder, self.problems);
        let pair = self.pair("certificate_file", "private_key_file");
        match (secret, pair) {
            (Some(_), Pair::Both(certificate, _)) => {
                let text = "a certificate and a client secret are both given; keep one of them";
                self.problems.add(Some(certificate.span), text);
                None
            }
            (Some(secret), Pair::Absent) => Some(CredentialFrom::Secret(secret)),
            (None, Pair::Both(certificate, key)) if !given => Some(CredentialFrom::Certificate { certificate, key }),
            (None, Pair::Absent) if !given => {
                let text = format!(
                    "[[connector]] does not say how the application proves itself: {}; or name a certificate with `certificate_file` and \
                     `private_key_file`",
                    CLIENT_SECRET.remedy()
                );
                self.problems.add(Some(self.section.span()), text);
                None
            }
            // Reported already.
            _ => None,
        }
    }

    /// Two files of which none is of use without the other.
    fn pair(&mut self, certificate: &'static str, key: &'static str) -> Pair {
        let (has_certificate, has_key) = (self.section.has(certificate), self.section.has(key));
        match (self.path(certificate), self.path(key)) {
            (Some(certificate), Some(key)) => Pair::Both(certificate, key),
            (Some(one), None) if !has_key => {
                self.wrong(certificate, one.span, format!("`{key}` is missing beside it"));
                Pair::Wrong
            }
            (None, Some(other)) if !has_certificate => {
                self.wrong(key, other.span, format!("`{certificate}` is missing beside it"));
                Pair::Wrong
            }
            (None, None) if !has_certificate && !has_key => Pair::Absent,
            _ => Pair::Wrong,
        }
    }

    fn listener(&mut self) -> (SocketAddr, Option<Placed<ListenerTls>>) {
        const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8443);
        let given = self.section.string("listen", self.problems);
        let tls = self.pair("tls_certificate_file", "tls_private_key_file");
        let listen = given.map_or(LISTEN, |given| {
            let text = given.value.replacen("localhost:", "127.0.0.1:", usize::from(given.value.starts_with("localhost:")));
            let Ok(address) = text.parse::<SocketAddr>() else {
                let why = "not an address and port; write for example 127.0.0.1:8443, or 0.0.0.0:443 with TLS";
                self.wrong("listen", given.span, why);
                return LISTEN;
            };
            if !address.ip().is_loopback() && matches!(tls, Pair::Absent) {
                let why = "plain HTTP is served on loopback only; name tls_certificate_file and tls_private_key_file, or \
                           listen on 127.0.0.1 and put a TLS proxy in front";
                self.wrong("listen", given.span, why);
            }
            address
        });
        let tls = match tls {
            Pair::Both(certificate, key) => Some(Placed {
                value: ListenerTls { certificate_file: certificate.value, key_file: key.value },
                span: certificate.span,
            }),
            Pair::Absent | Pair::Wrong => None,
        };
        (listen, tls)
    }

    fn media(&mut self) -> Option<Media> {
        const WORDS: &[&str] = &["service-hosted", "app-hosted"];
        let word = self.shaped("media", |text| {
            let known = WORDS.iter().position(|word| *word == text);
            known.ok_or_else(|| shape::unknown("kind of media", text, WORDS))
        });
        let app_hosted = word == Some(1);
        let prefetch = self.prefetch(app_hosted);
        let file = self.path("media_blob_file");
        let command = self.section.strings("media_blob_command", self.problems);
        for key in ["media_blob_file", "media_blob_command"] {
            if self.section.has(key) && !app_hosted {
                self.problems.add(Some(self.section.place(key)), format!("`{key}` needs media = \"app-hosted\""));
            }
        }
        if !app_hosted {
            return Some(Media::ServiceHosted { prefetch });
        }
        match (file, command) {
            (Some(_), Some(_)) => {
                let text = "`media_blob_file` and `media_blob_command` are both given; keep one of them";
                self.problems.add(Some(self.section.place("media_blob_command")), text);
                None
            }
            (Some(file), None) => Some(Media::BlobFile(file.value)),
            (None, Some(words)) => {
                let mut words: Vec<String> = words.into_iter().map(|word| word.value).collect();
                let Some(program) = words.first_mut().filter(|program| !program.is_empty()) else {
                    let text =
                        "`media_blob_command` names no program; write for example [\"/usr/local/bin/media-blob\"]";
                    self.problems.add(Some(self.section.place("media_blob_command")), text);
                    return None;
                };
                // As in a shell: a name alone is looked up in $PATH, anything else is a path.
                if program.contains('/') {
                    *program = self.folder.join(&*program).to_string_lossy().into_owned();
                }
                Some(Media::BlobCommand(words))
            }
            (None, None) => {
                if !self.section.has("media_blob_file") && !self.section.has("media_blob_command") {
                    let text = "media = \"app-hosted\" needs `media_blob_file` or `media_blob_command`";
                    self.problems.add(Some(self.section.place("media")), text);
                }
                None
            }
        }
    }

    fn prefetch(&mut self, app_hosted: bool) -> Vec<(String, String)> {
        let tables = self.section.tables("prefetch_media", PREFETCH, self.problems).unwrap_or_default();
        if let Some(table) = tables.first().filter(|_| app_hosted) {
            let text = "`prefetch_media` needs media = \"service-hosted\"";
            self.problems.add(Some(table.span()), text);
        }
        let mut list = Vec::new();
        for mut table in tables {
            let uri = table.required("uri", "the address of a WAV file", self.problems);
            let id = table.required("resource_id", "an identifier of your choice, for example a GUID", self.problems);
            table.finish(&[], self.problems);
            let Some(uri) = uri else { continue };
            let good = crate::config::address::url(&uri.value, "https://cdn.contoso.com/beep.wav");
            if self.good("prefetch_media", uri.span, good).is_some()
                && let Some(id) = id
            {
                // As written: the service fetches it, we do not.
                list.push((uri.value, id.value));
            }
        }
        list
    }

    fn modalities(&mut self) -> Vec<String> {
        let Some(given) = self.each("accepted_modalities", |text| {
            let known = MODALITIES.iter().find(|word| word.eq_ignore_ascii_case(text));
            known.map(|word| (*word).to_owned()).ok_or_else(|| shape::unknown("modality", text, MODALITIES))
        }) else {
            return vec!["audio".to_owned()];
        };
        if given.is_empty() {
            let text = "`accepted_modalities` of [[connector]] must name at least one of audio, video, \
                        videoBasedScreenSharing, data";
            self.problems.add(Some(self.section.place("accepted_modalities")), text);
        }
        given
    }
}

fn reason(text: &str) -> Result<RejectReason, String> {
    let known = REASONS.iter().find(|(word, _)| *word == text);
    let words: Vec<&str> = REASONS.iter().map(|(word, _)| *word).collect();
    known.map(|(_, reason)| *reason).ok_or_else(|| shape::unknown("reason", text, &words))
}

fn model(text: &str) -> Result<String, String> {
    match text {
        "A" | "B" | "" => Ok(text.to_owned()),
        _ => Err("must be \"A\" (security and compliance), \"B\" (other uses) or \"\" (not sent)".to_owned()),
    }
}
