//! `check` against a tenant on loopback.

use std::sync::Mutex;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::clock::SystemClock;
use crate::config::{Config, Resolved};

const TENANT: &str = "11111111-1111-4111-8111-111111111111";

/// The least configuration with further lines, resolved.
pub(super) fn config(more: &str) -> ResolvedTeams {
    let callback = if more.contains("callback_url") { "" } else { "callback_url = \"https://recorder.contoso.com\"" };
    let text = format!(
        "[[connector]]\nname = \"teams\"\nkind = \"teams\"\ntenant_id = \"{TENANT}\"\n\
         client_id = \"22222222-2222-4222-8222-222222222222\"\nclient_secret_env = \"X\"\n{callback}\n{more}\n"
    );
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("greffier.toml");
    std::fs::write(&path, text).expect("written");
    let (_, all) = Config::load_resolved(&path, &|_| Some("geheim".to_owned())).expect("configuration");
    match all.into_iter().next() {
        Some(Resolved::Teams(one)) => *one,
        _ => panic!("one connector of kind teams"),
    }
}

/// What the tenant answers.
#[derive(Default)]
struct Tenant {
    roles: Vec<&'static str>,
    secret_is_wrong: bool,
    access_policy_is_missing: bool,
    /// Paths asked with a token, and scopes that tokens were asked for.
    asked: Mutex<Vec<String>>,
}

async fn login(State(tenant): State<Arc<Tenant>>, Form(form): Form<Vec<(String, String)>>) -> axum::response::Response {
    let scope = form.iter().find(|(name, _)| name == "scope").map(|(_, value)| value.clone()).unwrap_or_default();
    tenant.asked.lock().expect("lock").push(scope);
    if tenant.secret_is_wrong {
        let body = json!({"error": "invalid_client", "error_codes": [7000215], "error_description": "geheim"});
        return (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response();
    }
    let claims = URL_SAFE_NO_PAD.encode(json!({"tid": TENANT, "roles": tenant.roles}).to_string());
    axum::Json(json!({"token_type": "Bearer", "expires_in": 3599, "access_token": format!("h.{claims}.s")}))
        .into_response()
}

/// Serves the tenant; the configuration that belongs to it.
async fn started(tenant: &Arc<Tenant>, more: &str) -> ResolvedTeams {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("http://{}", socket.local_addr().expect("address"));
    let (metadata, modulus) = (json!({"jwks_uri": format!("{url}/keys")}), URL_SAFE_NO_PAD.encode([0xc1; 256]));
    let router = Router::new()
        .route(&format!("/{TENANT}/oauth2/v2.0/token"), post(login))
        .route("/openid", get(move || async move { axum::Json(metadata) }))
        .route(
            "/keys",
            get(|| async move { axum::Json(json!({"keys": [{"kty": "RSA", "kid": "1", "n": modulus, "e": "AQAB"}]})) }),
        )
        .route("/v1.0/subscriptions", get(|| async { axum::Json(json!({"value": []})) }))
        .fallback(any(|State(tenant): State<Arc<Tenant>>, uri: axum::http::Uri| async move {
            tenant.asked.lock().expect("lock").push(uri.to_string());
            if tenant.access_policy_is_missing { StatusCode::FORBIDDEN } else { StatusCode::NOT_FOUND }
        }))
        .with_state(Arc::clone(tenant));
    tokio::spawn(async move { axum::serve(socket, router).await });
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port").local_addr().expect("address");
    config(&format!(
        "login_url = \"{url}\"\ngraph_url = \"{url}\"\ncalls_openid_url = \"{url}/openid\"\nlisten = \"{free}\"\n\
         callback_url = \"http://{free}/greffier (1)/{{x}}\"\n\
         notifications_openid_url = \"{url}/openid\"\nbot_openid_url = \"{url}/openid\"\n{more}"
    ))
}

async fn lines(config: ResolvedTeams) -> Vec<CheckLine> {
    let (sender, mut receiver) = mpsc::channel(64);
    check(config, Arc::new(SystemClock), sender).await;
    let mut lines = Vec::new();
    while let Some(line) = receiver.recv().await {
        lines.push(line);
    }
    lines
}

fn bad(lines: &[CheckLine]) -> Vec<String> {
    let bad = lines.iter().filter(|line| line.outcome == Bad);
    bad.map(|line| format!("{}: {}", line.step, line.note)).collect()
}

#[tokio::test]
async fn everything_is_tried_and_a_handshake_goes_the_whole_way_round() {
    let tenant = Arc::new(Tenant { roles: vec!["Calls.JoinGroupCall.All", "Chat.Read.All"], ..Tenant::default() });
    let lines = lines(started(&tenant, "").await).await;
    assert_eq!(bad(&lines), Vec::<String>::new());
    let steps: Vec<&str> = lines.iter().map(|line| line.step.split([' ', ',']).next().unwrap_or_default()).collect();
    assert_eq!(
        steps,
        ["key", "listen", "reach", "keys", "keys", "keys", "token", "permissions", "subscriptions", "token"]
    );
    assert!(lines.iter().any(|line| line.note == "the handshake of a subscription came back"));
    let asked = tenant.asked.lock().expect("lock").clone();
    assert_eq!(asked, ["https://graph.microsoft.com/.default", "https://api.botframework.com/.default"]);
}

#[tokio::test]
async fn a_wrong_secret_is_tried_once_and_told_without_the_words_of_the_service() {
    let tenant = Arc::new(Tenant { secret_is_wrong: true, ..Tenant::default() });
    let lines = lines(started(&tenant, "").await).await;
    let bad = bad(&lines);
    assert!(bad.len() == 1 && bad[0].contains("AADSTS7000215") && !bad[0].contains("geheim"), "{bad:?}");
    assert_eq!(tenant.asked.lock().expect("lock").len(), 1);
}

#[tokio::test]
async fn missing_permissions_and_a_missing_policy_are_named() {
    let roles = vec!["Calls.JoinGroupCall.All", "OnlineMeetings.Read.All"];
    let tenant = Arc::new(Tenant { roles, access_policy_is_missing: true, ..Tenant::default() });
    let scope = "chat_scopes = [\"/users/33333333-3333-4333-8333-333333333333/chats/getAllMessages\"]";
    let lines = lines(started(&tenant, scope).await).await;
    let bad = bad(&lines);
    assert!(bad.len() == 1 && bad[0].starts_with("permission Chat.Read.All"), "{bad:?}");
    assert!(lines.iter().any(|line| line.outcome == Warning && line.note.contains("Grant-CsApplicationAccessPolicy")));
}

#[tokio::test]
async fn an_address_that_a_recorder_holds_is_knocked_at_all_the_same() {
    let tenant = Arc::new(Tenant { roles: vec!["Calls.JoinGroupCall.All", "Chat.Read.All"], ..Tenant::default() });
    let config = started(&tenant, "").await;
    let (place, _recorder) = echo::stand_in(&config).await;
    assert!(matches!(place, Place::Free));
    let lines = lines(config).await;
    assert_eq!(bad(&lines), Vec::<String>::new());
    assert!(lines.iter().any(|line| line.note.starts_with("taken")));
}

#[tokio::test]
async fn nothing_is_made_by_looking() {
    let tenant = Arc::new(Tenant::default());
    let mut config = started(&tenant, "").await;
    let dir = tempfile::tempdir().expect("folder");
    config.keys = dir.path().join("keys");
    lines(config.clone()).await;
    assert!(!config.keys.exists());
    KeyStore::open(&config.keys, SystemClock.now()).expect("made");
    let found = lines(config.clone()).await;
    assert!(
        found.iter().any(|line| line.note.starts_with("1 in ") && line.note.contains("the newest of 20")),
        "{found:?}"
    );
    assert_eq!(std::fs::read_dir(&config.keys).expect("folder").count(), 1);
}
