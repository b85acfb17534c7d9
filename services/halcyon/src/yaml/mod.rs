//! YAML that knows where everything stands, so that whatever is wrong with it can be shown with its line.

mod node;
mod read;
mod write;

pub(crate) use self::{
    node::{Entry, Kind, Node, Place},
    read::{Fault, read},
    write::write,
};
