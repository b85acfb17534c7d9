//! What people say about a version: threads of remarks, on the whole of it or on a place in its configuration.

use crate::{
    audit::Actor,
    clock::Timestamp,
    error::InputError,
    id::{ApprovalId, CommentId, DatasourceId},
};

/// The longest comment, in characters.
pub const MAX_COMMENT: usize = 4_000;
/// The most comments that a version can have.
pub const MAX_COMMENTS: u64 = 1_000;

/// A remark on a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its identifier.
    pub id: CommentId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The version's number.
    pub version: u32,
    /// The approval that it belongs to, if it was made on one.
    pub approval: Option<ApprovalId>,
    /// The comment that began the thread; the comment itself if it did.
    pub thread: CommentId,
    /// The comment that it answers.
    pub reply_to: Option<CommentId>,
    /// The place in the configuration that it is about: a JSON pointer; the whole if absent.
    pub pointer: Option<String>,
    /// What was said; empty once deleted.
    pub body: String,
    /// Who said it.
    pub author: Actor,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted: its place in the thread stays.
    pub deleted_at: Option<Timestamp>,
    /// When its thread was settled; only on the comment that began it.
    pub resolved_at: Option<Timestamp>,
    /// Who settled it.
    pub resolved_by: Option<Actor>,
    /// Grows with every change, for `ETag` and `If-Match`.
    pub revision: i64,
}

impl Comment {
    /// Whether it began its thread.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.thread == self.id
    }

    /// Whether `actor` said it.
    #[must_use]
    pub fn is_by(&self, actor: &Actor) -> bool {
        self.author.id.is_some() && (self.author.kind, self.author.id) == (actor.kind, actor.id)
    }
}

/// Checks what is said: 1 to [`MAX_COMMENT`] characters, not only white space.
///
/// # Errors
/// At pointer `/body`.
pub fn check_body(body: &str) -> Result<(), InputError> {
    let fits = !body.trim().is_empty() && body.chars().count() <= MAX_COMMENT && !body.contains('\0');
    if fits {
        Ok(())
    } else {
        let detail = "a comment has 1 to 4,000 characters, none of them NUL";
        Err(InputError::new("/body", "invalid", detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_says_something_and_not_too_much() {
        assert!(check_body("why 70?").is_ok());
        assert!(check_body(&"é".repeat(MAX_COMMENT)).is_ok());
        for body in ["", " \n", "a\0", &"x".repeat(MAX_COMMENT + 1)] {
            assert_eq!(check_body(body).unwrap_err().pointer, "/body");
        }
    }
}
