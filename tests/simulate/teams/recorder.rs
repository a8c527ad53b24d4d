//! A recorder of the tests' own: webhooks that keep what comes, and a client of Graph. It knows the digest and nothing of
//! the connector.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use greffier::simulate::teams::SimulatedTenant;
use serde_json::{Value, json};
use tokio::sync::watch;

/// One POST that came to a webhook.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub token: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

#[derive(Default)]
struct Kept {
    got: Vec<Got>,
    /// Status of the next answers; then 202.
    statuses: Vec<u16>,
    /// Answer to joining notifications.
    decision: Option<Value>,
    /// Do not give validation tokens back.
    deaf: bool,
}

#[derive(Clone)]
struct Shared {
    kept: Arc<Mutex<Kept>>,
    changed: watch::Sender<u64>,
}

/// The webhooks, and what is needed to ask Graph.
pub struct Recorder {
    shared: Shared,
    pub url: String,
    pub http: reqwest::Client,
    pub base: String,
    pub token: String,
    tenant_id: String,
    client_id: String,
    secret: String,
    key: PrivateDecryptingKey,
    pub certificate: String,
}

impl Recorder {
    /// Listens on a free port.
    pub async fn listen() -> Self {
        let shared = Shared { kept: Arc::default(), changed: watch::Sender::new(0) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(hook).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap();
        Recorder {
            shared,
            url,
            http: super::super::client::http(),
            base: String::new(),
            token: String::new(),
            tenant_id: String::new(),
            client_id: String::new(),
            secret: String::new(),
            key: PrivateDecryptingKey::from_pkcs8(&pair.serialize_der()).unwrap(),
            certificate: STANDARD.encode(certificate.der()),
        }
    }

    /// Gets a Graph token.
    pub async fn sign_in(&mut self, tenant: &SimulatedTenant) {
        self.base = tenant.base_url().to_owned();
        self.tenant_id = tenant.tenant_id();
        self.client_id = tenant.client_id();
        self.secret = tenant.client_secret();
        self.token = self.fetch_token("https://graph.microsoft.com/.default").await.unwrap();
    }

    /// A token for a scope.
    pub async fn fetch_token(&self, scope: &str) -> Result<String, Value> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", &self.secret)
            .append_pair("scope", scope)
            .finish();
        let answer = self
            .http
            .post(format!("{}/{}/oauth2/v2.0/token", self.base, self.tenant_id))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        body["access_token"].as_str().map(str::to_owned).ok_or(body)
    }

    /// Asks Graph; status and body.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/v1.0{path}", self.base) };
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(&self.token)
            .header("prefer", "include-unknown-enum-members")
            .header("client-request-id", "c0ffee00-0000-4000-8000-000000000001");
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Every value of a paged list.
    pub async fn pages(&self, path: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut next = path.to_owned();
        loop {
            let page = self.get(&next).await;
            all.extend(page["value"].as_array().unwrap().iter().cloned());
            match page["@odata.nextLink"].as_str() {
                Some(link) => link.clone_into(&mut next),
                None => return all,
            }
        }
    }

    /// The body of a subscription with resource data for so many minutes.
    pub fn subscription(&self, resource: &str, minutes: i64) -> Value {
        let until = greffier::clock::Clock::now(&greffier::clock::SystemClock).millis() + minutes * 60_000;
        json!({
            "changeType": "created,updated,deleted",
            "notificationUrl": format!("{}/api/notifications", self.url),
            "lifecycleNotificationUrl": format!("{}/api/lifecycle", self.url),
            "resource": resource,
            "includeResourceData": true,
            "encryptionCertificate": self.certificate,
            "encryptionCertificateId": "key-1",
            "expirationDateTime": greffier::model::Timestamp::from_millis(until).rfc3339(),
            "clientState": "secret-state",
        })
    }

    /// Subscribes with resource data.
    pub async fn subscribe(&self, resource: &str) -> Value {
        let (status, body) = self.ask("POST", "/subscriptions", Some(self.subscription(resource, 4000))).await;
        assert_eq!(status, 201, "{body}");
        body
    }

    /// Answers a call with every wish.
    pub async fn answer(&self, call: &str, capacity: u32, delta: bool) -> (u16, Value) {
        let body = json!({
            "callbackUri": format!("{}/api/calls/own", self.url),
            "mediaConfig": { "@odata.type": "#microsoft.graph.serviceHostedMediaConfig", "preFetchMedia": [] },
            "acceptedModalities": ["audio"],
            "participantCapacity": capacity,
            "callOptions": {
                "@odata.type": "#microsoft.graph.incomingCallOptions",
                "isContentSharingNotificationEnabled": true, "isDeltaRosterEnabled": delta,
            },
        });
        self.ask("POST", &format!("/communications/calls/{call}/answer"), Some(body)).await
    }

    /// Statuses of the next answers of the webhooks; afterwards 202.
    pub fn answer_with(&self, statuses: &[u16]) {
        self.shared.kept.lock().unwrap().statuses = statuses.to_vec();
    }

    /// The decision on joining notifications.
    pub fn decide(&self, decision: Value) {
        self.shared.kept.lock().unwrap().decision = Some(decision);
    }

    /// Gives validation tokens back no more.
    pub fn go_deaf(&self) {
        self.shared.kept.lock().unwrap().deaf = true;
    }

    /// Everything that came so far.
    pub fn got(&self) -> Vec<Got> {
        self.shared.kept.lock().unwrap().got.clone()
    }

    /// Single notifications out of everything that came to paths that contain this.
    pub fn items(&self, path: &str) -> Vec<Value> {
        let all = self.got();
        all.iter()
            .filter(|g| g.path.contains(path))
            .flat_map(|g| g.body["value"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    /// Waits until what came satisfies `holds`.
    pub async fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                changes.borrow_and_update();
                if holds(self) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        });
        assert!(waited.await.is_ok(), "waited in vain for {what}: {:#?}", self.got());
    }

    /// Waits for a call notification with this state; its `resourceData`.
    pub async fn wait_state(&self, state: &str) -> Value {
        self.wait(state, |r| r.items("/api/calls").iter().any(|i| i["resourceData"]["state"] == state)).await;
        let items = self.items("/api/calls");
        items.into_iter().find(|i| i["resourceData"]["state"] == state).unwrap()["resourceData"].clone()
    }

    /// Decrypts an item, checking its signature first.
    pub fn decrypt(&self, item: &Value) -> Value {
        let part = |name: &str| STANDARD.decode(item["encryptedContent"][name].as_str().unwrap()).unwrap();
        let rsa = OaepPrivateDecryptingKey::new(self.key.clone()).unwrap();
        let mut buffer = vec![0; rsa.min_output_size()];
        let key = rsa.decrypt(&OAEP_SHA1_MGF1SHA1, &part("dataKey"), &mut buffer, None).unwrap().to_vec();
        let mut data = part("data");
        let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
        aws_lc_rs::hmac::verify(&mac, &data, &part("dataSignature")).expect("the signature is right");
        let iv: [u8; 16] = key[..16].try_into().unwrap();
        let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, &key).unwrap()).unwrap();
        let plain = cipher.decrypt(&mut data, DecryptionContext::Iv128(FixedLength::from(iv))).unwrap();
        serde_json::from_slice(plain).unwrap()
    }

    /// The private key, PKCS#8 PEM, for programs of others.
    pub fn key_pem(&self) -> String {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = self.key.as_der().unwrap();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()))
    }
}

async fn hook(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    if let Some(query) = uri.query() {
        let token = url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == "validationToken");
        if let Some((_, token)) = token {
            let deaf = shared.kept.lock().unwrap().deaf;
            let told = if deaf { "what?".to_owned() } else { token.into_owned() };
            return (StatusCode::OK, [("content-type", "text/plain")], told).into_response();
        }
    }
    let token = headers.get("authorization").map(|v| v.to_str().unwrap().trim_start_matches("Bearer ").to_owned());
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let joining = body["value"][0]["resourceData"]["@odata.type"] == "#microsoft.graph.participantJoiningNotification";
    let (status, decision) = {
        let mut kept = shared.kept.lock().unwrap();
        let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap_or_default().to_owned())).collect();
        kept.got.push(Got { path: uri.path().to_owned(), token, headers, body });
        let status = if kept.statuses.is_empty() { 202 } else { kept.statuses.remove(0) };
        (status, kept.decision.clone().filter(|_| joining))
    };
    shared.changed.send_modify(|v| *v += 1);
    match decision {
        Some(decision) => (StatusCode::OK, decision.to_string()).into_response(),
        None => StatusCode::from_u16(status).unwrap().into_response(),
    }
}
