//! Use cases on an SQLite store.
