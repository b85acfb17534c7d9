//! Pages as connections (GraphQL Cursor Connections), over the same cursors as REST's lists.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::views::List;

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Connection")]
pub(super) struct Connection<T> {
    /// The objects, each with its place in the list.
    edges: Vec<Edge<T>>,
    /// Where the page is in the list.
    page_info: PageInfo,
}

/// An object and its place in the list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Edge")]
pub(super) struct Edge<T> {
    /// The object.
    node: T,
    /// Give it as `after` to get the page that begins after this object.
    cursor: String,
}

/// Where a page is in its list.
#[derive(Serialize, JsonSchema)]
pub(super) struct PageInfo {
    /// Whether there are objects after this page.
    has_next_page: bool,
    /// Whether there are objects before this page.
    has_previous_page: bool,
    /// The cursor of the first object.
    start_cursor: Option<String>,
    /// The cursor of the last object.
    end_cursor: Option<String>,
}

impl<T> Connection<T> {
    /// A page that begins after a cursor, or at the list's beginning.
    pub(super) fn of(list: List<T>, is_first: bool) -> Self {
        let page_info = PageInfo {
            has_next_page: list.next_cursor.is_some(),
            has_previous_page: !is_first,
            start_cursor: list.cursors.first().cloned(),
            end_cursor: list.cursors.last().cloned(),
        };
        // A list that is whole has no cursors: nothing comes after it.
        let cursors = list.cursors.into_iter().chain(std::iter::repeat(String::new()));
        let edges = list.items.into_iter().zip(cursors);
        Self {
            edges: edges.map(|(node, cursor)| Edge { node, cursor }).collect(),
            page_info,
        }
    }
}
