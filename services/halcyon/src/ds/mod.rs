//! `halcyon ds`: what one does with datasources every day.

mod change;
mod editor;
mod find;
mod logs;
mod operate;
mod release;
mod replay;
mod show;
mod sse;
mod tail;
mod test;
mod verbs;

pub(crate) use self::{
    find::{Which, find},
    verbs::{DsArgs, run},
};
