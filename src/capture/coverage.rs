//! When the recorder was really capturing.
