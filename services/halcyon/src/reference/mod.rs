//! The pages of `docs/reference/` that follow from the settings and from the command line.

mod cli;
mod configuration;
