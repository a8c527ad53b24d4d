//! The `[[connector]]` table of kind `teams` as users write it, and the errors they get.

use super::{Place, no_env};
use crate::config::Resolved;
use crate::connector::teams::config::{Credential, Endpoints, Media, RejectReason, ResolvedTeams};

const TENANT: &str = "11111111-1111-4111-8111-111111111111";

const LEAST: &str = r#"
[[connector]]
name = "teams"
kind = "teams"
tenant_id = "11111111-1111-4111-8111-111111111111"
client_id = "22222222-2222-4222-8222-AAAAAAAAAAAA"
client_secret_file = "secrets/teams"
callback_url = "https://recorder.contoso.com"
"#;

/// The least table with further lines.
fn place(more: &str) -> Place {
    let place = Place::new(&format!("{LEAST}{more}\n"));
    place.file("secrets/teams", "geheim\n", 0o600);
    place
}

fn teams(place: &Place) -> Result<ResolvedTeams, String> {
    let all = place.resolve_all(&no_env)?;
    match all.into_iter().next() {
        Some(Resolved::Teams(one)) => Ok(*one),
        _ => panic!("one connector of kind teams"),
    }
}

/// What is said about the least table with these lines: the texts without the places.
fn wrong(more: &str) -> String {
    let text = teams(&place(more)).expect_err(more);
    let bare = |line: &str| line.splitn(4, ':').nth(3).unwrap_or(line).trim().to_owned();
    text.lines().map(bare).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_connector_needs_six_keys_and_the_rest_has_the_defaults_of_the_contract() {
    let place = place("");
    let found = teams(&place).expect("config");
    assert_eq!((found.tenant_id.as_str(), found.client_id.as_str()), (TENANT, "22222222-2222-4222-8222-aaaaaaaaaaaa"));
    assert!(matches!(&found.proof, Credential::Secret(secret) if secret.expose() == "geheim"));
    assert_eq!(found.endpoints, Endpoints::of(found.cloud, TENANT));
    assert_eq!(found.callback_url.as_str(), "https://recorder.contoso.com/");
    assert_eq!((found.listen.to_string().as_str(), &found.tls, &found.ca_pem), ("127.0.0.1:8443", &None, &None));
    assert_eq!(found.accept_from, [format!("*@{TENANT}")]);
    assert_eq!((found.accept_policy_recording, found.reject_reason), (true, RejectReason::Forbidden));
    assert_eq!(found.media, Media::ServiceHosted { prefetch: Vec::new() });
    assert_eq!((found.accepted_modalities.len(), found.participant_capacity), (1, 0));
    assert_eq!((found.content_sharing, found.delta_roster, found.report_recording_status), (true, false, true));
    assert_eq!((found.keep_alive.as_secs(), found.hang_up_after.as_secs()), (600, 60));
    assert_eq!((found.follow_call_chats, found.chat_scopes.len(), found.model.as_str()), (true, 0, "A"));
    assert_eq!((found.encrypted_notifications, found.subscription_life.as_secs()), (true, 259_200));
    let reading = (found.reconcile_every.as_secs(), found.reconcile_window.as_secs(), found.backfill_overlap.as_secs());
    assert_eq!(reading, (86_400, 172_800, 300));
    assert_eq!(found.chat_polls_after_call.iter().map(|poll| poll.as_secs()).collect::<Vec<_>>(), [120, 3_600]);
    assert_eq!(found.rotate_keys_every.as_secs(), 180 * 86_400);
    assert_eq!(found.keys, place.dir.path().join("archive/keys/teams-teams"));
    assert_eq!(found.notice, "This conversation is being recorded and archived.");
    assert!(!format!("{found:?}").contains("geheim"));
}

#[test]
fn every_required_key_is_asked_for() {
    let place = Place::new("[[connector]]\nname = \"t\"\nkind = \"teams\"\n");
    insta::assert_snapshot!(place.load().expect_err("problems"), @r#"
    greffier.toml:1:1: [[connector]] needs `tenant_id`: the GUID of the customer's tenant
    greffier.toml:1:1: [[connector]] needs `client_id`: the GUID of the app registration
    greffier.toml:1:1: [[connector]] does not say how the application proves itself: put the client secret into a file of mode 0600 and name that with `client_secret_file`, or name an environment variable with `client_secret_env`; or name a certificate with `certificate_file` and `private_key_file`
    greffier.toml:1:1: [[connector]] needs `callback_url`: where Teams reaches the recorder, for example callback_url = "https://recorder.contoso.com"
    "#);
}

#[test]
fn every_wrong_value_is_told_with_its_place_and_none_is_quoted_that_may_be_a_secret() {
    let text = r#"[[connector]]
name = "t"
kind = "teams"
tenant_id = "common"
client_id = "Greffier"
client_secret = "hunter2"
cloud = "us-gov-l3"
callback_url = "http://recorder.contoso.com"
listen = "0.0.0.0:8443"
login_url = "http://login.example"
graph_url = "https://graph.example/?x"
calls_issuers = []
notifications_publisher = "graph"
bot_tenant = "a b"
bot_service_urls = ["smba"]
accept_from = ["alice@contoso.com"]
reject_reason = "forbiden"
media = "service"
accepted_modalities = ["Audio", "sound"]
participant_capacity = -1
keep_alive_seconds = 3000
chat_scopes = ["/chats/getAllMessages?model=A", "/me/chats"]
model = "C"
subscription_seconds = 260000
chat_polls_after_call = [60, "x", 99999999]
prefetch_media = [{ uri = "http://cdn.contoso.com/a.wav", resource = "1" }, 3]
key_rotation = 5
"#;
    let place = Place::new(text);
    insta::assert_snapshot!(place.load().expect_err("problems"), @r#"
    greffier.toml:4:13: `tenant_id` of [[connector]]: an application's tokens come from one tenant; write the customer tenant's GUID
    greffier.toml:5:13: `client_id` of [[connector]]: not a GUID; write the Application (client) ID of the app registration's overview page
    greffier.toml:6:1: `client_secret` in [[connector]]: put the client secret into a file of mode 0600 and name that with `client_secret_file`, or name an environment variable with `client_secret_env`
    greffier.toml:7:9: `cloud` of [[connector]]: unknown cloud `us-gov-l3`; did you mean `us-gov-l5`?
    greffier.toml:8:16: `callback_url` of [[connector]]: plain http:// is accepted to loopback addresses only; write https://
    greffier.toml:9:10: `listen` of [[connector]]: plain HTTP is served on loopback only; name tls_certificate_file and tls_private_key_file, or listen on 127.0.0.1 and put a TLS proxy in front
    greffier.toml:10:13: `login_url` of [[connector]]: plain http:// is accepted to loopback addresses only; write https://
    greffier.toml:11:13: `graph_url` of [[connector]]: paths are appended to this URL: write it without `?` and `#`
    greffier.toml:12:1: `calls_issuers` of [[connector]] is empty, so that nothing would be accepted; leave it out for the default
    greffier.toml:13:27: `notifications_publisher` of [[connector]]: not a GUID; leave it out to expect Microsoft Graph change tracking
    greffier.toml:14:14: `bot_tenant` of [[connector]]: not a tenant; write its GUID or a domain such as "botframework.com"
    greffier.toml:15:21: `bot_service_urls` of [[connector]]: not a URL; write for example "https://smba.trafficmanager.net/"
    greffier.toml:16:16: `accept_from` of [[connector]]: `alice@contoso.com` has a user that is not an object id; write <object id>, <object id>@<tenant id>, *@<tenant id>, tel:+49*, or * for everybody; users and tenants are named by their ids, not by addresses
    greffier.toml:17:17: `reject_reason` of [[connector]]: unknown reason `forbiden`; did you mean `forbidden`?
    greffier.toml:18:9: `media` of [[connector]]: unknown kind of media `service`; did you mean `service-hosted`?
    greffier.toml:19:33: `accepted_modalities` of [[connector]]: unknown modality `sound`; known: audio, video, videoBasedScreenSharing, data
    greffier.toml:20:24: `participant_capacity` in [[connector]] must be from 0 to 10000
    greffier.toml:21:22: `keep_alive_seconds` in [[connector]] must be from 1 to 2700
    greffier.toml:22:16: `chat_scopes` of [[connector]]: `/chats/getAllMessages?model=A`: write it without a query; `model` is a key of its own
    greffier.toml:22:49: `chat_scopes` of [[connector]]: `/me/chats` is not a resource that can be followed; write /chats/getAllMessages, /users/<object id>/chats/getAllMessages, /chats/<chat id>/messages, /teams/getAllMessages or /teams/<team id>/channels/<channel id>/messages
    greffier.toml:23:9: `model` of [[connector]]: must be "A" (security and compliance), "B" (other uses) or "" (not sent)
    greffier.toml:24:24: `subscription_seconds` in [[connector]] must be from 10 to 259200
    greffier.toml:25:30: `chat_polls_after_call` in [[connector]] must be a list of whole numbers from 0 to 604800, such as [120, 3600], not a text
    greffier.toml:25:35: `chat_polls_after_call` in [[connector]] must be a list of whole numbers from 0 to 604800, such as [120, 3600]
    greffier.toml:26:19: `prefetch_media` needs `resource_id`: an identifier of your choice, for example a GUID
    greffier.toml:26:27: `prefetch_media` of [[connector]]: plain http:// is accepted to loopback addresses only; write https://
    greffier.toml:26:59: unknown key `resource` in `prefetch_media`; did you mean `resource_id`?
    greffier.toml:26:77: `prefetch_media` in [[connector]] must be a list of tables such as [{ uri = "https://cdn.contoso.com/beep.wav", resource_id = "1D6D…" }], not a whole number
    greffier.toml:27:1: unknown key `key_rotation` in [[connector]]; did you mean `key_rotation_days`?
    "#);
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    insta::assert_snapshot!(wrong("chat_scope = []"), @"unknown key `chat_scope` in [[connector]]; did you mean `chat_scopes`?");
}

#[test]
fn one_proof_of_the_application_is_needed_and_one_only() {
    let without = LEAST.replace("client_secret_file = \"secrets/teams\"\n", "");
    let says = |more: &str| {
        let place = Place::new(&format!("{without}{more}\n"));
        place.file("secrets/teams", "geheim", 0o600);
        place.load().map(|_| ()).expect_err(more)
    };
    insta::assert_snapshot!(says(""), @"greffier.toml:2:1: [[connector]] does not say how the application proves itself: put the client secret into a file of mode 0600 and name that with `client_secret_file`, or name an environment variable with `client_secret_env`; or name a certificate with `certificate_file` and `private_key_file`");
    insta::assert_snapshot!(says("client_secret_file = \"a\"\nclient_secret_env = \"A\""), @"greffier.toml:9:21: `client_secret_file` and `client_secret_env` are both given; keep one of them");
    insta::assert_snapshot!(says("certificate_file = \"a\""), @"greffier.toml:8:20: `certificate_file` of [[connector]]: `private_key_file` is missing beside it");
    insta::assert_snapshot!(says("private_key_file = \"a\""), @"greffier.toml:8:20: `private_key_file` of [[connector]]: `certificate_file` is missing beside it");
    insta::assert_snapshot!(says("client_secret_env = \"A\"\ncertificate_file = \"a\"\nprivate_key_file = \"b\""), @"greffier.toml:9:20: a certificate and a client secret are both given; keep one of them");
    insta::assert_snapshot!(says("client_secret_env = \"hunter 2\""), @r#"greffier.toml:8:21: `client_secret_env` must be the name of an environment variable, for example "TEAMS_SECRET""#);
}

/// A self-signed certificate and its RSA key, PEM.
fn pair() -> (String, String) {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("key");
    let params = rcgen::CertificateParams::new(vec!["recorder.contoso.com".to_owned()]).expect("params");
    (params.self_signed(&key).expect("certificate").pem(), key.serialize_pem())
}

#[test]
fn a_certificate_and_its_key_are_read_and_held_against_each_other() {
    let text = LEAST.replace(
        "client_secret_file = \"secrets/teams\"",
        "certificate_file = \"c.pem\"\nprivate_key_file = \"k.pem\"",
    );
    let place = Place::new(&text);
    let ((certificate, key), (_, other)) = (pair(), pair());
    place.file("c.pem", &certificate, 0o644);
    place.file("k.pem", &key, 0o640);
    insta::assert_snapshot!(teams(&place).expect_err("mode"), @"greffier.toml:8:20: `private_key_file`: k.pem has mode 0640 and may be read by others; run: chmod 600 k.pem");
    place.file("k.pem", &other, 0o600);
    insta::assert_snapshot!(teams(&place).expect_err("foreign key"), @"greffier.toml:7:20: `certificate_file` and `private_key_file`: the private key does not belong to the certificate");
    place.file("k.pem", &key, 0o600);
    let found = teams(&place).expect("config");
    assert!(
        matches!(&found.proof, Credential::Certificate { certificate_pem, .. } if *certificate_pem == certificate.as_bytes())
    );
    assert!(!format!("{found:?}").contains("PRIVATE"));
    place.file("c.pem", "nothing", 0o644);
    insta::assert_snapshot!(teams(&place).expect_err("no certificate"), @"greffier.toml:7:20: `certificate_file`: c.pem holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is needed");
}

#[test]
fn the_listener_needs_both_files_and_speaks_plain_http_on_loopback_only() {
    insta::assert_snapshot!(wrong("tls_certificate_file = \"tls.pem\""), @"`tls_certificate_file` of [[connector]]: `tls_private_key_file` is missing beside it");
    insta::assert_snapshot!(wrong("tls_private_key_file = \"tls.key\""), @"`tls_private_key_file` of [[connector]]: `tls_certificate_file` is missing beside it");
    insta::assert_snapshot!(wrong("listen = \"[::]:443\""), @"`listen` of [[connector]]: plain HTTP is served on loopback only; name tls_certificate_file and tls_private_key_file, or listen on 127.0.0.1 and put a TLS proxy in front");
    insta::assert_snapshot!(wrong("listen = \"8443\""), @"`listen` of [[connector]]: not an address and port; write for example 127.0.0.1:8443, or 0.0.0.0:443 with TLS");
    assert_eq!(teams(&place("listen = \"localhost:0\"")).expect("config").listen.to_string(), "127.0.0.1:0");

    let place =
        place("listen = \"0.0.0.0:443\"\ntls_certificate_file = \"tls.pem\"\ntls_private_key_file = \"tls.key\"");
    insta::assert_snapshot!(teams(&place).expect_err("absent"), @"greffier.toml:10:24: `tls_private_key_file`: cannot read tls.key: No such file or directory (os error 2)");
    let (certificate, key) = pair();
    place.file("tls.pem", &certificate, 0o644);
    place.file("tls.key", &pair().1, 0o600);
    assert!(teams(&place).expect_err("foreign key").contains("do not go together"));
    place.file("tls.key", &key, 0o644);
    assert!(teams(&place).expect_err("mode").contains("chmod 600 "));
    place.file("tls.key", &key, 0o600);
    let tls = teams(&place).expect("config").tls.clone().expect("tls");
    assert_eq!(tls.value.key_file, place.dir.path().join("tls.key"));
}

#[test]
fn media_have_what_belongs_to_their_kind_and_nothing_else() {
    insta::assert_snapshot!(wrong("media = \"app-hosted\""), @r#"media = "app-hosted" needs `media_blob_file` or `media_blob_command`"#);
    insta::assert_snapshot!(wrong("media_blob_file = \"x\""), @r#"`media_blob_file` needs media = "app-hosted""#);
    insta::assert_snapshot!(wrong("media = \"app-hosted\"\nmedia_blob_file = \"x\"\nmedia_blob_command = [\"y\"]"), @"`media_blob_file` and `media_blob_command` are both given; keep one of them");
    insta::assert_snapshot!(wrong("media = \"app-hosted\"\nmedia_blob_command = []"), @r#"`media_blob_command` names no program; write for example ["/usr/local/bin/media-blob"]"#);
    insta::assert_snapshot!(wrong("media = \"app-hosted\"\nmedia_blob_file = \"x\"\nprefetch_media = [{ uri = \"https://a.example/\", resource_id = \"1\" }]"), @r#"`prefetch_media` needs media = "service-hosted""#);

    let place_ = place("media = \"app-hosted\"\nmedia_blob_file = \"x\"");
    assert_eq!(teams(&place_).expect("config").media, Media::BlobFile(place_.dir.path().join("x")));
    let command = |program: &str| {
        let place = place(&format!("media = \"app-hosted\"\nmedia_blob_command = [\"{program}\", \"a/b\"]"));
        let Media::BlobCommand(words) = teams(&place).expect("config").media.clone() else { panic!("command") };
        let dir = format!("{}/", place.dir.path().display());
        words.iter().map(|word| word.replace(&dir, "<dir>/")).collect::<Vec<_>>()
    };
    assert_eq!(command("helper"), ["helper", "a/b"]);
    assert_eq!(command("./helper"), ["<dir>/./helper", "a/b"]);
    assert_eq!(command("/bin/helper"), ["/bin/helper", "a/b"]);
    let prefetch = "prefetch_media = [{ uri = \"https://cdn.contoso.com/Beep.wav\", resource_id = \"1D6D\" }]";
    let list = vec![("https://cdn.contoso.com/Beep.wav".to_owned(), "1D6D".to_owned())];
    assert_eq!(teams(&place(prefetch)).expect("config").media, Media::ServiceHosted { prefetch: list });
}

#[test]
fn endpoints_are_the_clouds_until_the_file_says_otherwise() {
    let found = teams(&place("cloud = \"us-gov-l4\"\ngraph_url = \"http://127.0.0.1:9000/graph/\"")).expect("config");
    assert_eq!(found.endpoints.graph_url, "http://127.0.0.1:9000/graph");
    assert_eq!(found.endpoints.login_url, "https://login.microsoftonline.us");
    assert_eq!(found.endpoints.bot_tenant, "MicrosoftServices.onmicrosoft.us");
    let trial = "bot_service_urls = [\"http://127.0.0.1:9000/teams\"]\nbot_tenant = \"botframework.com\"";
    let found = teams(&place(trial)).expect("config");
    assert_eq!(found.endpoints.bot_service_urls, ["http://127.0.0.1:9000/teams/"]);
    assert_eq!(found.endpoints.bot_tenant, "botframework.com");
    assert!(teams(&place("bot_service_urls = []")).expect("config").endpoints.bot_service_urls.is_empty());
}

#[test]
fn modalities_scopes_and_durations_are_taken_in_their_own_spelling() {
    let found = teams(&place(
        "accepted_modalities = [\"AUDIO\", \"videobasedscreensharing\"]\nmodel = \"\"\nkey_rotation_days = 0\n\
         chat_scopes = [\"/chats/19%3Aa%40thread.v2/messages\", \"/chats/19:a@thread.v2/messages\"]\n\
         chat_polls_after_call = []\nsubscription_seconds = 10\nhang_up_after_seconds = 0\nreconcile_seconds = 1",
    ))
    .expect("config");
    assert_eq!(found.accepted_modalities, ["audio", "videoBasedScreenSharing"]);
    assert_eq!(found.chat_scopes, ["/chats/19:a@thread.v2/messages"]);
    assert!(found.rotate_keys_every.is_zero() && found.chat_polls_after_call.is_empty() && found.model.is_empty());
    insta::assert_snapshot!(wrong("accepted_modalities = []"), @"`accepted_modalities` of [[connector]] must name at least one of audio, video, videoBasedScreenSharing, data");
}

#[test]
fn kinds_stand_side_by_side_and_names_stay_unique() {
    let ucwa = "[[connector]]\nname = \"teams\"\nkind = \"ucwa\"\nsign_in = \"r@c.de\"\npassword_env = \"P\"\n";
    let taken = "`name` of [[connector]]: `teams` is taken by another connector";
    assert!(wrong(ucwa).lines().any(|line| line == taken));
    let place = place(&ucwa.replace("\"teams\"", "\"sfb\""));
    let env = |name: &str| (name == "P").then(|| "geheim".to_owned());
    let all = place.resolve_all(&env).expect("config");
    assert_eq!(all.iter().map(|one| one.source().connector.as_str()).collect::<Vec<_>>(), ["teams", "sfb"]);
}
