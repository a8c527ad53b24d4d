//! Any link and any HTML: no panic, no hang, no script in what is shown.
#![no_main]

use greffier_fuzz::connector::ucwa::datauri::{decode, html_to_text, is_data_uri, message_text, sanitise};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    match decode(input) {
        Ok(decoded) => {
            assert!(is_data_uri(input));
            let shown = message_text(&decoded);
            if decoded.media_type != "text/html" {
                let sent = decoded.text.replace("\r\n", "\n");
                assert!(sent.starts_with(&shown) && sent.len() <= shown.len() + 1, "words are missing");
            }
            check(&decoded.text);
        }
        Err(_) => check(input),
    }
});

fn check(html: &str) {
    let _ = html_to_text(html);
    let clean = sanitise(html).to_ascii_lowercase();
    // Text cannot hold a bare `<`, so what follows one is a tag; quotes inside attribute values are escaped.
    for tag in clean.split('<').skip(1).map(|piece| piece.split('>').next().unwrap_or_default()) {
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        assert!(!["script", "iframe", "style", "img", "svg", "object", "form"].contains(&name), "{name} is left");
        for bad in [" href=\"javascript:", " href=\"data:", " src=\"", " style=\"", " onclick=\""] {
            assert!(!tag.contains(bad), "{bad} is left");
        }
    }
}
