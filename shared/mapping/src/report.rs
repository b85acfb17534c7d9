//! Which parts of a payload no expression read.

use halcyon_domain::error::escape;

use crate::{expr::Ledger, json::Node, output::Notes};

/// Notes the parts of `document` that were not read: the topmost ones of which nothing was.
pub(crate) fn unmapped(document: &Node<'_>, ledger: &Ledger, notes: &Notes) {
    if ledger.read().is_some() && !is_read(document, ledger) {
        walk(document, &mut String::new(), ledger, notes);
    }
}

fn walk(node: &Node<'_>, pointer: &mut String, ledger: &Ledger, notes: &Notes) {
    let length = pointer.len();
    let mut child = |name: &str, child: &Node<'_>| {
        pointer.push('/');
        pointer.push_str(&escape(name));
        if is_read(child, ledger) || is_empty(child) {
        } else if any_read(child, ledger) {
            walk(child, pointer, ledger, notes);
        } else {
            notes.add(pointer, "unmapped", || {
                "no expression of the mapping reads this".to_owned()
            });
        }
        pointer.truncate(length);
    };
    match node {
        Node::Map(members) => members.iter().for_each(|(name, node)| child(name, node)),
        Node::List(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, node)| child(&index.to_string(), node)),
        _ => {}
    }
}

fn is_read(node: &Node<'_>, ledger: &Ledger) -> bool {
    ledger.read().is_some_and(|read| read.contains(node))
}

fn any_read(node: &Node<'_>, ledger: &Ledger) -> bool {
    is_read(node, ledger)
        || match node {
            Node::Map(members) => members.iter().any(|(_, node)| any_read(node, ledger)),
            Node::List(items) => items.iter().any(|node| any_read(node, ledger)),
            _ => false,
        }
}

fn is_empty(node: &Node<'_>) -> bool {
    match node {
        Node::Null => true,
        Node::Map(members) => members.is_empty(),
        Node::List(items) => items.is_empty(),
        Node::Bool(_) | Node::Number(_) | Node::Text(_) => false,
    }
}
