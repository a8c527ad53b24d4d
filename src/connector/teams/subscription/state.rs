//! The client state: how a notification proves that it belongs to a subscription of ours.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::resource::canonical;

/// The client state of a resource: 43 characters, the same whenever it is computed from the same seed.
///
/// It hangs on the resource and not on the subscription's id, which is not known before the service answers: a notification
/// may come sooner, and one of a replaced subscription later.
pub fn client_state(seed: &[u8; 32], resource: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
    let resource = canonical(resource).to_ascii_lowercase();
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, format!("client state|{resource}").as_bytes()))
}

/// Compares in a time that does not depend on where they differ.
pub fn client_state_matches(expected: &str, given: &str) -> bool {
    verify_slices_are_equal(expected.as_bytes(), given.as_bytes()).is_ok()
}

/// Tells seeds apart without telling them.
pub(super) fn seed_tag(seed: &[u8; 32]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
    let tag = hmac::sign(&key, b"tag");
    URL_SAFE_NO_PAD.encode(tag.as_ref().get(..6).unwrap_or_default())
}
