//! The connector against SeaweedFS, and against a folder.

mod folder;
mod peer;
mod settings;
