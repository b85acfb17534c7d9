//! What an expression evaluates to: parts of the payload by reference, and what functions made of them.

mod compare;
mod convert;

use std::{borrow::Cow, rc::Rc, slice};

pub(crate) use convert::{number_from, number_of, to_json, to_text};

use crate::{jmespath::Expr, json::Node};

/// A value during evaluation. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) enum Val<'n> {
    /// A part of the payload, or of a literal.
    Node(&'n Node<'n>),
    Null,
    Bool(bool),
    /// A computed number.
    Number(f64),
    /// A computed text.
    Text(Rc<str>),
    List(Rc<Vec<Val<'n>>>),
    /// Members in order. Of a name that comes twice the last one counts.
    Map(Rc<Vec<Member<'n>>>),
    /// An expression that is a function's argument (`&expr`).
    Expr(&'n Expr),
}

/// A member of an object.
pub(crate) type Member<'n> = (&'n str, Val<'n>);

/// The type of a value, in JMESPath's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Map,
    Expr,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "boolean",
            Self::Number => "number",
            Self::Text => "string",
            Self::List => "array",
            Self::Map => "object",
            Self::Expr => "expref",
        }
    }
}

impl<'n> Val<'n> {
    pub(crate) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(Rc::new(items))
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Null | Self::Node(Node::Null) => Kind::Null,
            Self::Bool(_) | Self::Node(Node::Bool(_)) => Kind::Bool,
            Self::Number(_) | Self::Node(Node::Number(_)) => Kind::Number,
            Self::Text(_) | Self::Node(Node::Text(_)) => Kind::Text,
            Self::List(_) | Self::Node(Node::List(_)) => Kind::List,
            Self::Map(_) | Self::Node(Node::Map(_)) => Kind::Map,
            Self::Expr(_) => Kind::Expr,
        }
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Node(Node::Null))
    }

    /// JMESPath's truth: false, null, and what is empty are not true.
    pub(crate) fn truthy(&self) -> bool {
        match self {
            Self::Null | Self::Node(Node::Null) => false,
            Self::Bool(bool) | Self::Node(Node::Bool(bool)) => *bool,
            Self::Text(text) => !text.is_empty(),
            Self::Node(Node::Text(text)) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Node(Node::List(items)) => !items.is_empty(),
            Self::Map(members) => !members.is_empty(),
            Self::Node(Node::Map(members)) => !members.is_empty(),
            Self::Number(_) | Self::Node(Node::Number(_)) | Self::Expr(_) => true,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Node(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(bool) | Self::Node(Node::Bool(bool)) => Some(*bool),
            _ => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Node(Node::Number(text)) => text.parse().ok(),
            _ => None,
        }
    }

    /// A number as it is written: every digit of the payload's own, the shortest form of a computed one.
    pub(crate) fn number_text(&self) -> Option<Cow<'n, str>> {
        match self {
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Node(Node::Number(text)) => Some(Cow::Borrowed(text.as_ref())),
            _ => None,
        }
    }

    /// The member of that name, if it is an object that has one.
    pub(crate) fn find(&self, key: &str) -> Option<Self> {
        match self {
            Self::Node(node) => node.get(key).map(Self::Node),
            Self::Map(members) => members
                .iter()
                .rev()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.clone()),
            _ => None,
        }
    }

    /// The member of that name, or null.
    pub(crate) fn get(&self, key: &str) -> Self {
        self.find(key).unwrap_or(Self::Null)
    }

    /// The item at that place (from the end if negative), if it is a list that has one.
    pub(crate) fn place(&self, index: i64) -> Option<Self> {
        let length = i64::try_from(self.list_len()?).ok()?;
        let index = usize::try_from(if index < 0 {
            index.checked_add(length)?
        } else {
            index
        })
        .ok()?;
        match self {
            Self::Node(Node::List(items)) => items.get(index).map(Self::Node),
            Self::List(items) => items.get(index).cloned(),
            _ => None,
        }
    }

    /// The item at that place (from the end if negative), or null.
    pub(crate) fn at(&self, index: i64) -> Self {
        self.place(index).unwrap_or(Self::Null)
    }

    /// How many items it has, if it is a list.
    pub(crate) fn list_len(&self) -> Option<usize> {
        match self {
            Self::Node(Node::List(items)) => Some(items.len()),
            Self::List(items) => Some(items.len()),
            _ => None,
        }
    }

    /// Its items, if it is a list.
    pub(crate) fn items(&self) -> Option<Items<'_, 'n>> {
        match self {
            Self::Node(Node::List(items)) => Some(Items::Nodes(items.iter())),
            Self::List(items) => Some(Items::Values(items.iter())),
            _ => None,
        }
    }

    /// Its members, if it is an object.
    pub(crate) fn members(&self) -> Option<Members<'_, 'n>> {
        match self {
            Self::Node(Node::Map(members)) => Some(Members::Nodes(members.iter())),
            Self::Map(members) => Some(Members::Values(members.iter())),
            _ => None,
        }
    }
}

/// The items of a list.
pub(crate) enum Items<'v, 'n> {
    Nodes(slice::Iter<'n, Node<'n>>),
    Values(slice::Iter<'v, Val<'n>>),
}

impl<'n> Iterator for Items<'_, 'n> {
    type Item = Val<'n>;

    fn next(&mut self) -> Option<Val<'n>> {
        match self {
            Self::Nodes(nodes) => nodes.next().map(Val::Node),
            Self::Values(values) => values.next().cloned(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Nodes(nodes) => nodes.size_hint(),
            Self::Values(values) => values.size_hint(),
        }
    }
}

/// The members of an object.
pub(crate) enum Members<'v, 'n> {
    Nodes(slice::Iter<'n, (Cow<'n, str>, Node<'n>)>),
    Values(slice::Iter<'v, Member<'n>>),
}

impl<'n> Iterator for Members<'_, 'n> {
    type Item = Member<'n>;

    fn next(&mut self) -> Option<Member<'n>> {
        match self {
            Self::Nodes(nodes) => nodes.next().map(|(name, node)| (name.as_ref(), Val::Node(node))),
            Self::Values(values) => values.next().cloned(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Nodes(nodes) => nodes.size_hint(),
            Self::Values(values) => values.size_hint(),
        }
    }
}
