//! Authors, approvals, comments and samples.

use halcyon_domain::{
    approval::{Approval, ApprovalRecord, ApprovalStatus, Asked, ConfigHash, Decision},
    audit::{Actor, ActorKind},
    comment::Comment,
    datasource::Datasource,
    id::{ApprovalId, CommentId, SampleId, VersionId},
    sample::{Sample, SampleOrigin},
    version::{Draft, Version},
};
use serde_json::json;
use uuid::Uuid;

use super::{Fixture, at, datasource, on_both};
use crate::{ApprovalFilter, CommentFilter, Error, PageRequest, Tenant, Unique, Visibility};

fn actor(kind: ActorKind) -> Actor {
    Actor {
        kind,
        id: Some(Uuid::now_v7()),
        name: "somebody".into(),
    }
}

async fn feed_with_draft(fixture: &Fixture, tenant: Tenant, name: &str) -> (Datasource, Version<Draft>) {
    let feed = datasource(tenant, name);
    let draft = Version::new(
        VersionId::generate(),
        feed.id,
        1,
        json!({"a": 1}),
        None,
        None,
        at(0),
    );
    let tx = fixture.store.begin().await.unwrap();
    tx.datasources().insert(&feed).await.unwrap();
    tx.versions().insert(tenant, draft.record()).await.unwrap();
    tx.commit().await.unwrap();
    (feed, draft)
}

fn request(draft: &Version<Draft>, by: &Actor, expires: Option<i64>) -> ApprovalRecord {
    let record = draft.record();
    let asked = Asked {
        id: ApprovalId::generate(),
        datasource: record.datasource,
        version: record.id,
        number: record.number,
        config_hash: ConfigHash::of(&record.config),
        note: Some("please".into()),
        expires_at: expires.map(at),
    };
    Approval::new(asked, by.clone(), at(1)).into_record()
}

#[tokio::test]
async fn a_version_knows_its_authors_once_each() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let (_, draft) = feed_with_draft(&fixture, ours, "edr").await;
        let id = draft.record().id;
        let (person, program) = (actor(ActorKind::User), actor(ActorKind::ServiceAccount));
        let tx = fixture.store.begin().await.unwrap();
        for author in [&person, &program, &person] {
            tx.versions().add_author(ours, id, author, at(0)).await.unwrap();
        }
        let system = Actor {
            id: None,
            ..actor(ActorKind::System)
        };
        tx.versions().add_author(ours, id, &system, at(0)).await.unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        let authors = read.versions().authors(ours, &[id]).await.unwrap();
        assert_eq!(authors[&id].len(), 2);
        assert!(authors[&id].contains(&person) && authors[&id].contains(&program));
        let theirs = fixture.tenant("theirs").await;
        assert!(read.versions().authors(theirs, &[id]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_draft_has_one_open_request_and_each_transition_counts_once() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let (feed, draft) = feed_with_draft(&fixture, ours, "edr").await;
        let (asker, other) = (actor(ActorKind::User), actor(ActorKind::User));
        let first = request(&draft, &asker, None);
        let tx = fixture.store.begin().await.unwrap();
        tx.approvals().insert(ours, &first).await.unwrap();
        tx.commit().await.unwrap();
        let tx = fixture.store.begin().await.unwrap();
        let second = tx.approvals().insert(ours, &request(&draft, &asker, None)).await;
        assert!(
            matches!(second, Err(Error::Conflict(Unique::OpenApproval))),
            "{second:?}"
        );
        drop(tx);

        let tx = fixture.store.begin().await.unwrap();
        let decision = Decision {
            by: other.clone(),
            at: at(2),
            comment: Some("fine".into()),
        };
        let pending = first.clone().into_pending("be approved", at(2)).unwrap();
        let approved = pending.approve(decision, &[]).unwrap().into_record();
        tx.approvals().update(ours, &approved).await.unwrap();
        let late = tx.approvals().update(ours, &approved).await.unwrap_err();
        assert!(matches!(late, Error::StaleRevision { current: 2 }), "{late:?}");
        let found = tx.approvals().open(ours, draft.record().id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&approved));
        let used = approved
            .clone()
            .into_usable(approved.config_hash, at(3))
            .unwrap()
            .use_up(at(3));
        tx.approvals().update(ours, used.record()).await.unwrap();
        assert_eq!(tx.approvals().open(ours, draft.record().id).await.unwrap(), None);
        // Another may be asked for now.
        tx.approvals()
            .insert(ours, &request(&draft, &asker, None))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        assert_eq!(read.approvals().open_of(ours, feed.id).await.unwrap().len(), 1);
        let theirs = fixture.tenant("theirs").await;
        assert_eq!(
            read.approvals().find(theirs, feed.id, first.id).await.unwrap(),
            None
        );
        assert_eq!(
            read.approvals()
                .find(ours, feed.id, first.id)
                .await
                .unwrap()
                .as_ref(),
            Some(used.record())
        );
    })
    .await;
}

#[tokio::test]
async fn approvals_are_listed_as_they_are_now_and_only_of_what_is_there() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let asker = actor(ActorKind::User);
        let (open, draft) = feed_with_draft(&fixture, ours, "open").await;
        let (_, other) = feed_with_draft(&fixture, ours, "expired").await;
        let (gone, deleted) = feed_with_draft(&fixture, ours, "deleted").await;
        let tx = fixture.store.begin().await.unwrap();
        let lasting = request(&draft, &asker, None);
        let ended = request(&other, &asker, Some(10));
        for record in [&lasting, &ended, &request(&deleted, &asker, None)] {
            tx.approvals().insert(ours, record).await.unwrap();
        }
        tx.datasources().delete(&gone, at(5)).await.unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        let ids = async |filter: ApprovalFilter| {
            let page = read
                .approvals()
                .list(ours, &filter, at(10), &PageRequest::default())
                .await
                .unwrap();
            page.items.iter().map(|record| record.id).collect::<Vec<_>>()
        };
        let of = |status| ApprovalFilter {
            status: Some(status),
            ..ApprovalFilter::default()
        };
        assert_eq!(ids(of(ApprovalStatus::Pending)).await, [lasting.id]);
        assert_eq!(ids(of(ApprovalStatus::Expired)).await, [ended.id]);
        assert_eq!(ids(of(ApprovalStatus::Used)).await, []);
        assert_eq!(ids(ApprovalFilter::default()).await.len(), 2);
        let visible = Visibility {
            datasources: vec![open.id],
            ..Visibility::default()
        };
        let seen = ApprovalFilter {
            visible: Some(visible),
            ..ApprovalFilter::default()
        };
        assert_eq!(ids(seen).await, [lasting.id]);
        let mine = ApprovalFilter {
            requested_by: asker.id,
            ..ApprovalFilter::default()
        };
        assert_eq!(ids(mine).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn comments_keep_their_place() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let (feed, _) = feed_with_draft(&fixture, ours, "edr").await;
        let author = actor(ActorKind::User);
        let said = |body: &str, thread: Option<CommentId>, second| {
            let id = CommentId::generate();
            Comment {
                id,
                datasource: feed.id,
                version: 1,
                approval: None,
                thread: thread.unwrap_or(id),
                reply_to: thread,
                pointer: Some("/a".into()),
                body: body.into(),
                author: author.clone(),
                created_at: at(second),
                edited_at: None,
                deleted_at: None,
                resolved_at: None,
                resolved_by: None,
                revision: 1,
            }
        };
        let first = said("why?", None, 1);
        let answer = said("because", Some(first.id), 2);
        let tx = fixture.store.begin().await.unwrap();
        for comment in [&first, &answer, &said("another", None, 3)] {
            tx.comments().insert(ours, comment).await.unwrap();
        }
        let settled = Comment {
            resolved_at: Some(at(4)),
            resolved_by: Some(author.clone()),
            ..first.clone()
        };
        let settled = tx.comments().update(ours, &settled).await.unwrap();
        assert_eq!(settled.revision, 2);
        let stale = tx.comments().update(ours, &first).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }), "{stale:?}");
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        assert_eq!(
            read.comments().find(ours, feed.id, 1, first.id).await.unwrap(),
            Some(settled.clone())
        );
        assert_eq!(
            read.comments().find(ours, feed.id, 2, first.id).await.unwrap(),
            None
        );
        let thread = CommentFilter {
            thread: Some(first.id),
            ..CommentFilter::default()
        };
        let page = read
            .comments()
            .list(ours, feed.id, &thread, &PageRequest::default())
            .await
            .unwrap();
        assert_eq!(page.items, [settled, answer]);
        assert_eq!(read.comments().count(ours, feed.id, 1).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn samples_keep_their_bytes_and_go_with_their_datasource() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let (feed, _) = feed_with_draft(&fixture, ours, "edr").await;
        let (other, _) = feed_with_draft(&fixture, ours, "other").await;
        let bytes = vec![0, 159, 146, 150, b'"', 0];
        let sample = |name: &str, of: &Datasource| Sample {
            id: SampleId::generate(),
            datasource: of.id,
            name: name.into(),
            content_type: Some("application/json".into()),
            note: None,
            origin: SampleOrigin::DeadLetter,
            origin_id: Some("7".into()),
            size: 6,
            created_by: actor(ActorKind::User),
            created_at: at(0),
        };
        let (one, two, theirs) = (sample("one", &feed), sample("two", &feed), sample("one", &other));
        let tx = fixture.store.begin().await.unwrap();
        for sample in [&one, &two, &theirs] {
            tx.samples().insert(ours, sample, bytes.clone()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let tx = fixture.store.begin().await.unwrap();
        let taken = tx.samples().insert(ours, &sample("two", &feed), Vec::new()).await;
        assert!(
            matches!(taken, Err(Error::Conflict(Unique::SampleName))),
            "{taken:?}"
        );
        drop(tx);
        let read = fixture.store.read();
        assert_eq!(
            read.samples().find(ours, feed.id, one.id).await.unwrap(),
            Some((one.clone(), bytes.clone()))
        );
        assert_eq!(read.samples().find(ours, other.id, one.id).await.unwrap(), None);
        assert_eq!(read.samples().usage(ours, feed.id).await.unwrap(), (2, 12));
        let tx = fixture.store.begin().await.unwrap();
        assert!(tx.samples().delete(ours, feed.id, one.id).await.unwrap());
        assert!(!tx.samples().delete(ours, feed.id, one.id).await.unwrap());
        assert_eq!(tx.samples().delete_all(ours, feed.id).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(read.samples().usage(ours, feed.id).await.unwrap(), (0, 0));
        let page = read
            .samples()
            .list(ours, other.id, &PageRequest::default())
            .await
            .unwrap();
        assert_eq!(page.items, std::slice::from_ref(&theirs));
        assert!(
            read.samples()
                .find(ours, other.id, theirs.id)
                .await
                .unwrap()
                .is_some()
        );
    })
    .await;
}
