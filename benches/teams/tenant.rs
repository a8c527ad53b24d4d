//! A service of the bench's own: tokens, keys, subscriptions and lists of messages, as cheap as they can be, so that the
//! machine's time goes to the recorder. It promises nothing about Microsoft's rules; the simulated tenant does that.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use greffier::clock::{Clock, SystemClock};
use greffier::model::Timestamp;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

const TENANT: &str = "6f2b0c1d-3a4e-4c5f-8a9b-1c2d3e4f5a6b";
const CLIENT: &str = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
/// The publisher that the recorder is told to expect.
const PUBLISHER: &str = "0bf30f3b-4a52-48df-9a82-234910c4a086";
const ALICE: &str = "a660dbf8-1ebf-4be9-be48-19c602bf5194";
const KID: &str = "bench-1";
/// Messages of a page, which is the most that lists of a chat give.
const PAGE: u64 = 50;

/// The service. Its task ends with the runtime.
#[derive(Clone)]
pub struct Tenant(Arc<Inner>);

struct Inner {
    base: String,
    key: RsaKeyPair,
    /// The id and time (milliseconds since 1970) of the first message of every chat.
    first: i64,
    /// Messages in each chat's past.
    past: u64,
    seen: Mutex<Seen>,
}

/// What the service was asked.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Subscriptions as they were asked for, with their ids.
    pub subscriptions: Vec<Value>,
    /// Requests for messages: when, and of which chat.
    pub lists: Vec<(Instant, String)>,
}

/// Thread id of a chat.
pub fn thread(chat: usize) -> String {
    format!("19:{chat:032x}@thread.v2")
}

fn url64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Tenant {
    /// Listens on a free port. Each chat has so many messages already.
    pub async fn start(past: u64) -> Tenant {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let first = SystemClock.now().millis() - 86_400_000;
        let tenant = Tenant(Arc::new(Inner { base, key, first, past, seen: Mutex::default() }));
        let router = Router::new().fallback(answer).with_state(tenant.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        tenant
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Seen {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The `[[connector]]` table of a recorder of these resources.
    pub fn config(&self, listen: SocketAddr, scopes: &[String]) -> String {
        let base = &self.0.base;
        format!(
            "[[connector]]\nname = \"teams\"\nkind = \"teams\"\ntenant_id = \"{TENANT}\"\nclient_id = \"{CLIENT}\"\n\
             client_secret_env = \"BENCH_SECRET\"\ncallback_url = \"http://{listen}\"\nlisten = \"{listen}\"\n\
             login_url = \"{base}\"\ngraph_url = \"{base}\"\ncalls_openid_url = \"{base}/openid\"\n\
             notifications_openid_url = \"{base}/openid\"\nbot_openid_url = \"{base}/openid\"\n\
             bot_service_urls = [\"{base}/smba/\"]\nnotifications_publisher = \"{PUBLISHER}\"\naccept_from = [\"*\"]\n\
             chat_scopes = {scopes:?}\n"
        )
    }

    fn validation_token(&self) -> String {
        let now = SystemClock.now().millis() / 1000;
        let issuer = format!("https://sts.windows.net/{TENANT}/");
        let claims = json!({
            "aud": CLIENT, "iss": issuer, "iat": now, "nbf": now, "exp": now + 3900, "appid": PUBLISHER,
            "appidacr": "2", "idp": issuer, "tid": TENANT, "uti": "-KoJHevhgEGnN4kwuixpAA", "ver": "1.0",
        });
        let head = json!({ "alg": "RS256", "typ": "JWT", "kid": KID, "x5t": KID });
        let signed = format!("{}.{}", url64(head.to_string()), url64(claims.to_string()));
        let mut signature = vec![0; self.0.key.public_modulus_len()];
        self.0
            .key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("the buffer has the length of the modulus");
        format!("{signed}.{}", url64(signature))
    }

    /// HTTP requests that announce these messages, one in each, encrypted for a subscription as it was asked for. They are
    /// spread over `chats` chats; no two messages have the same id.
    pub fn requests(&self, subscription: &Value, numbers: std::ops::Range<u64>, chats: usize) -> Vec<Bytes> {
        let certificate = STANDARD.decode(subscription["encryptionCertificate"].as_str().unwrap_or_default());
        let certificate = certificate.expect("a certificate in base64");
        let (_, parsed) = X509Certificate::from_der(&certificate).expect("a certificate");
        let public = PublicEncryptingKey::from_der(parsed.public_key().raw).expect("an RSA key");
        let seal = Seal(OaepPublicEncryptingKey::new(public).expect("an RSA key"));
        let url = subscription["notificationUrl"].as_str().unwrap_or_default();
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let tokens = json!([self.validation_token()]);
        let request = |n: u64| {
            let chat = thread(n as usize % chats);
            let at = self.0.first + n as i64;
            let place = format!("chats('{chat}')/messages('{at}')");
            let mut sealed = seal.close(message(&chat, at, n).to_string().into_bytes());
            sealed["encryptionCertificateId"] = subscription["encryptionCertificateId"].clone();
            let body = json!({
                "value": [{
                    "subscriptionId": subscription["id"], "changeType": "created",
                    "clientState": subscription["clientState"], "tenantId": TENANT,
                    "subscriptionExpirationDateTime": subscription["expirationDateTime"], "resource": place,
                    "resourceData": { "id": at.to_string(), "@odata.type": "#Microsoft.Graph.chatMessage", "@odata.id": place },
                    "encryptedContent": sealed,
                }],
                "validationTokens": tokens,
            })
            .to_string();
            Bytes::from(format!(
                "POST /{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ))
        };
        numbers.map(request).collect()
    }

    /// The id of a message that [`Tenant::requests`] announces.
    pub fn id(&self, number: u64) -> String {
        (self.0.first + number as i64).to_string()
    }

    fn messages(&self, chat: &str, uri: &Uri) -> Value {
        let inner = &self.0;
        let option = |wanted: &str| {
            let query = uri.query().unwrap_or_default();
            url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, v)| v.into_owned())
        };
        // `lastModifiedDateTime gt 2026-…`: only what is newer.
        let after = option("$filter").and_then(|text| Timestamp::parse_rfc3339(text.rsplit(' ').next()?));
        let after = after.map_or(0, |after| (after.millis() - inner.first + 1).max(0) as u64);
        let skip: u64 = option("$skiptoken").and_then(|token| token.parse().ok()).unwrap_or(0);
        let end = inner.past.saturating_sub(skip);
        let start = end.saturating_sub(PAGE).max(after).min(end);
        let value: Vec<Value> = (start..end).rev().map(|n| message(chat, inner.first + n as i64, n)).collect();
        let mut page = json!({ "@odata.context": format!("{}/v1.0/$metadata#messages", inner.base), "value": value });
        if start > after {
            let rest = uri.query().unwrap_or_default().split('&').filter(|part| !part.contains("skiptoken"));
            let rest = rest.collect::<Vec<_>>().join("&");
            page["@odata.nextLink"] = json!(format!("{}{}?{rest}&$skiptoken={}", inner.base, uri.path(), skip + PAGE));
        }
        page
    }
}

/// The public half of what notifications are sealed with (RSA-OAEP around a fresh AES-256 key).
pub struct Seal(pub OaepPublicEncryptingKey);

impl Seal {
    /// `encryptedContent` of this resource, without the certificate's id.
    pub fn close(&self, mut data: Vec<u8>) -> Value {
        let mut key = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut key).expect("randomness");
        let iv: [u8; 16] = *key.first_chunk().expect("16 of 32 bytes");
        let cipher =
            UnboundCipherKey::new(&AES_256, &key).and_then(PaddedBlockEncryptingKey::cbc_pkcs7).expect("a key");
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        cipher.less_safe_encrypt(&mut data, context).expect("CBC takes an IV of 16 bytes");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &data);
        let mut sealed = vec![0; self.0.ciphertext_size()];
        self.0.encrypt(&OAEP_SHA1_MGF1SHA1, &key, &mut sealed, None).expect("32 bytes fit");
        json!({
            "data": STANDARD.encode(&data),
            "dataSignature": STANDARD.encode(signature),
            "dataKey": STANDARD.encode(sealed),
        })
    }
}

/// A message with all of its members, as long as messages are.
pub fn message(chat: &str, at: i64, n: u64) -> Value {
    let time = Timestamp::from_millis(at).rfc3339();
    let words = "the budget for the next quarter is on the agenda of the meeting at noon ".repeat(1 + n as usize % 3);
    json!({
        "id": at.to_string(), "replyToId": null, "etag": at.to_string(), "messageType": "message",
        "createdDateTime": time, "lastModifiedDateTime": time, "lastEditedDateTime": null, "deletedDateTime": null,
        "subject": null, "summary": null, "chatId": chat, "importance": "normal", "locale": "en-us", "webUrl": null,
        "channelIdentity": null, "policyViolation": null, "eventDetail": null,
        "from": { "application": null, "device": null, "user": {
            "@odata.type": "#microsoft.graph.teamworkUserIdentity", "id": ALICE, "displayName": "Alice Brandt",
            "userIdentityType": "aadUser", "tenantId": TENANT,
        } },
        "body": { "contentType": "text", "content": format!("#{n} {words}") },
        "attachments": [], "mentions": [], "reactions": [], "messageHistory": [],
    })
}

async fn answer(State(tenant): State<Tenant>, method: Method, uri: Uri, body: Bytes) -> Response {
    let inner = &tenant.0;
    let base = &inner.base;
    let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8_lossy().into_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut status = StatusCode::OK;
    let answer = match (method.as_str(), segments.as_slice()) {
        ("POST", [_, "oauth2", "v2.0", "token"]) => {
            json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": "bench" })
        }
        ("GET", ["openid"]) => json!({
            "issuer": "https://sts.windows.net/{tenantid}/", "jwks_uri": format!("{base}/keys"),
            "id_token_signing_alg_values_supported": ["RS256"],
        }),
        ("GET", ["keys"]) => {
            let public = inner.key.public_key();
            json!({ "keys": [{
                "kty": "RSA", "use": "sig", "kid": KID, "x5t": KID, "alg": "RS256", "endorsements": ["msteams"],
                "n": url64(public.modulus().big_endian_without_leading_zero()),
                "e": url64(public.exponent().big_endian_without_leading_zero()),
            }] })
        }
        ("GET", ["v1.0", "subscriptions"]) => json!({ "value": tenant.seen().subscriptions }),
        ("POST", ["v1.0", "subscriptions"]) => {
            status = StatusCode::CREATED;
            let mut asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
            asked["id"] = json!(format!("00000000-0000-4000-8000-{:012}", seen.subscriptions.len()));
            seen.subscriptions.push(asked.clone());
            asked
        }
        ("GET", ["v1.0", "chats", chat]) => json!({
            "id": chat, "topic": format!("Chat {chat}"), "createdDateTime": Timestamp::from_millis(inner.first).rfc3339(),
            "chatType": "group", "tenantId": TENANT, "onlineMeetingInfo": null, "members": [{
                "@odata.type": "#microsoft.graph.aadUserConversationMember", "id": "bench", "roles": ["owner"],
                "displayName": "Alice Brandt", "userId": ALICE, "tenantId": TENANT,
            }],
        }),
        ("GET", ["v1.0", "chats", chat, "messages"]) => {
            let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.lists.push((Instant::now(), (*chat).to_owned()));
            drop(seen);
            tenant.messages(chat, &uri)
        }
        _ => {
            status = StatusCode::NOT_FOUND;
            json!({ "error": { "code": "NotFound", "message": "Not found." } })
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}
