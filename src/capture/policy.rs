//! Who may invite the recorder.
