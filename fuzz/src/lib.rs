//! The recorder's own source files, compiled alone: the fuzzer then builds a dozen crates instead of the recorder's
//! two hundred.

/// As in the recorder; a folder of its own in between, so that its parts are looked for where they lie.
#[path = "../../src"]
mod recorder {
    pub mod model;
}
pub use recorder::model;

/// As in the recorder.
#[path = "../../src/connector"]
pub mod connector {
    pub mod html;
    pub mod secret;
    /// As in the recorder.
    pub mod teams {
        pub mod certificate;
        pub mod seal;
        pub mod trust;
    }
    /// As in the recorder.
    pub mod ucwa {
        pub mod challenge;
        pub mod datauri;
        pub mod wire;
    }
}

/// As in the recorder.
#[path = "../../src/index"]
pub mod index {
    pub mod analysis;
    pub mod query;
}
