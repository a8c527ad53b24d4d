use std::sync::Arc;

use axum::body::Bytes;

use super::*;
use crate::archive::Archive;
use crate::capture::{Append, Source};
use crate::model::{Content, Kind, Message};
use crate::viewer::tests::{ask, block_on, clock, get, main_of, story};
use crate::viewer::{Options, Viewer};

/// A picture of one pixel.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\xdac\xfc\xcf\xc0P\
\x0f\0\x04\x85\x01\x80\x84\xa9\x8c!\0\0\0\0IEND\xaeB`\x82";

const HOSTILE: &str = "..\\..\u{202e}gpj.\"\r\nSet-Cookie: a=b; x=\".html";

struct Stage {
    dir: tempfile::TempDir,
    viewer: Arc<Viewer>,
}

fn told(name: &str, media_type: &str, sha256: Option<&str>) -> Attachment {
    Attachment {
        name: Some(name.into()),
        media_type: Some(media_type.into()),
        sha256: sha256.map(str::to_owned),
        size: Some(7),
        ..Attachment::default()
    }
}

/// Event 2 has every kind of file: 1 a picture, 2 a page that says it is a picture, 3 long, 4 not kept, 5 lost later.
fn stage() -> Stage {
    let dir = tempfile::tempdir().expect("a folder");
    block_on(async {
        let archive = Archive::open(dir.path(), clock()).expect("an archive");
        let sink = archive.sink();
        let mut hashes = Vec::new();
        for bytes in [PNG.to_vec(), b"<script>alert(1)</script>".to_vec(), vec![b'x'; 3 << 20], b"lost".to_vec()] {
            hashes.push(sink.keep(Bytes::from(bytes)).await.expect("kept").sha256);
        }
        let attachments = vec![
            told("photo.png", "text/html", Some(&hashes[0])),
            told(HOSTILE, "image/png", Some(&hashes[1])),
            told("Protokoll – März.txt", "text/plain", Some(&hashes[2])),
            told("secret.docx", "application/msword", None),
            told("lost.txt", "text/plain", Some(&hashes[3])),
        ];
        let detail = serde_json::json!({ "attachments_not_kept": [
            { "name": "secret.docx", "reason": "Graph answered 403 <b>Forbidden</b>" },
            { "url": "https://contoso.example/x", "reason": "too large" },
        ] });
        let message = Message { id: "m".into(), text: "look".into(), attachments, ..Message::default() };
        let content = Content {
            actor: Some(story::person("alice", "Alice")),
            message: Some(message),
            detail: Some(detail),
            ..Content::default()
        };
        let script = story::Script::of(1).starts("2026-11-19T09:30:00Z", "Files").event(
            "2026-11-19T09:31:00Z",
            Kind::MessageSent,
            content,
        );
        let source = Source { connector: "teams".into(), platform: "teams".into() };
        sink.append(&source, Append { events: script.events, ..Append::default() }).await.expect("appended");
        std::fs::remove_file(Attachments::of(archive.layout()).path(&hashes[3]).expect("a name")).expect("removed");
        archive.close().await.expect("closed");
    });
    let viewer = Arc::new(Viewer::at_rest(dir.path(), clock(), Options::default()).expect("a viewer"));
    Stage { dir, viewer }
}

#[test]
fn a_picture_is_shown_by_its_bytes_and_anything_else_is_handed_over_to_be_saved() {
    let stage = stage();
    block_on(async {
        for base in ["/events", "/api/v1/events"] {
            let got = get(&stage.viewer, &format!("{base}/2/attachments/1")).await;
            assert_eq!((got.status, got.body.as_slice()), (200, PNG));
            assert_eq!(got.header("content-type"), "image/png");
            assert_eq!(got.header("content-disposition"), "inline");

            let got = get(&stage.viewer, &format!("{base}/2/attachments/2")).await;
            assert_eq!((got.status, got.text().as_str()), (200, "<script>alert(1)</script>"));
            assert_eq!(got.header("content-type"), "application/octet-stream");
            assert_eq!(
                got.header("content-disposition"),
                "attachment; filename=\"_.._gpj.___Set-Cookie_ a_b_ x__.html\"; \
                 filename*=UTF-8''_.._gpj.___Set-Cookie_%20a%3Db%3B%20x%3D_.html"
            );
            assert_eq!(got.header("set-cookie"), "");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
                ("cache-control", "private, no-cache"),
            ] {
                assert_eq!(got.header(name), value);
            }

            let got = get(&stage.viewer, &format!("{base}/2/attachments/3")).await;
            assert_eq!((got.status, got.body.len(), got.body.iter().all(|b| *b == b'x')), (200, 3 << 20, true));
            assert_eq!(got.header("content-length"), (3 << 20).to_string());
            assert!(got.header("content-disposition").ends_with("UTF-8''Protokoll%20%E2%80%93%20M%C3%A4rz.txt"));
        }
    });
}

#[test]
fn who_has_a_file_already_is_told_so_and_head_has_no_body() {
    let stage = stage();
    block_on(async {
        let got = ask(&stage.viewer, "HEAD", "/events/2/attachments/1", &[]).await;
        assert_eq!((got.status, got.body.len()), (200, 0));
        let tag = got.header("etag");
        assert_eq!(tag, format!("W/\"{}\"", hex(&Sha256::digest(PNG))));
        let got =
            ask(&stage.viewer, "GET", "/events/2/attachments/1", &[("if-none-match", &format!("\"x\", {tag}"))]).await;
        assert_eq!((got.status, got.body.len()), (304, 0));
        let got = ask(&stage.viewer, "GET", "/events/2/attachments/1", &[("if-none-match", "\"x\"")]).await;
        assert_eq!(got.status, 200);
    });
}

#[test]
fn what_is_not_there_or_not_what_was_kept_is_told_and_not_handed_out() {
    let stage = stage();
    let kept = stage.viewer.attachments();
    std::fs::write(kept.path(&hex(&Sha256::digest(PNG))).expect("a name"), b"\x89PNG\r\n\x1a\nother").expect("written");
    block_on(async {
        for (number, words) in [
            ("1", "not those that were kept"),
            ("4", "not in the archive"),
            ("5", "missing in the archive"),
            ("6", "no file of this number"),
            ("0", "no file of this number"),
            ("..%2F..%2Farchive.db", "no file of this number"),
        ] {
            let got = get(&stage.viewer, &format!("/events/2/attachments/{number}")).await;
            assert_eq!(got.status, 404, "{number}");
            assert!(got.text().contains(words), "{number}: {}", got.text());
        }
        assert_eq!(get(&stage.viewer, "/events/1/attachments/1").await.status, 404);
        assert_eq!(get(&stage.viewer, "/events/99/attachments/1").await.status, 404);
        assert_eq!(get(&stage.viewer, "/events/x/attachments/1").await.status, 400);
    });
    drop(stage.dir);
}

#[test]
fn pages_show_pictures_link_files_and_say_why_others_are_missing() {
    let stage = stage();
    block_on(async {
        for address in [format!("/conversations/{}", story::conversation(1)), "/events/2".to_owned()] {
            let page = get(&stage.viewer, &address).await.text();
            let main = main_of(&page);
            assert!(main.contains(
                "<img src=\"/events/2/attachments/1\" alt=\"Picture: photo.png\" loading=\"lazy\" decoding=\"async\">"
            ));
            assert_eq!(main.matches("<img ").count(), 1, "a page that says it is a picture is none");
            assert!(main.contains("href=\"/events/2/attachments/2\" download rel=\"nofollow\""));
            assert!(!main.contains("/attachments/4"));
            assert!(main.contains("Graph answered 403 &#60;b&#62;Forbidden&#60;/b&#62;"), "{main}");
            assert!(main.contains("too large") && main.contains("7\u{a0}bytes"));
            assert!(!main.contains('\u{202e}'));
        }
        assert!(get(&stage.viewer, "/events/2").await.text().contains(&hex(&Sha256::digest(PNG))));
    });
}

#[test]
fn pictures_are_known_by_their_first_bytes() {
    let webp = b"RIFF\x01\x02\x03\x04WEBPVP8 ";
    let known: [(&[u8], &str); 4] = [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a\x01\0", "image/gif"),
        (webp, "image/webp"),
    ];
    for (head, media_type) in known {
        assert_eq!(picture(head), Some(media_type));
    }
    for other in [&b""[..], b"\x89PNG", b"<svg xmlns", b"GIF88a", b"RIFF1234WAVE", b"BM", b"\xff\xd8", b"%PDF-1.7"] {
        assert_eq!(picture(other), None, "{other:?}");
    }
}
