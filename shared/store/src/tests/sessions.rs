//! Sessions, refresh tokens, and the counters of changed rights.

use chrono::TimeDelta;
use halcyon_domain::{
    access::{Grant, Role, Scope, Subject},
    id::{RoleBindingId, SessionId, UserId},
    session::EndReason,
};

use super::{Fixture, at, datasource, on_both};
use crate::{AllTenants, ExternalIdentity, RoleBinding, Session, SigningKey, Tenant, User};

const WHY: AllTenants = AllTenants::because("a test");

async fn user(fixture: &Fixture, tenant: Tenant, external: Option<ExternalIdentity>) -> User {
    let user = User {
        id: UserId::generate(),
        organization: tenant.0,
        email: "a@x.org".into(),
        name: "A".into(),
        disabled: false,
        external,
        created_at: at(0),
        updated_at: at(0),
        revision: 1,
    };
    let tx = fixture.store.begin().await.unwrap();
    tx.users().insert(&user, None).await.unwrap();
    tx.commit().await.unwrap();
    user
}

async fn session(fixture: &Fixture, user: &User) -> Session {
    let session = Session {
        id: SessionId::generate(),
        organization: user.organization,
        user: user.id,
        created_at: at(0),
        last_seen_at: at(0),
        expires_at: at(100),
        user_agent: Some("a\0b".into()),
        remote_ip: None,
        ended_at: None,
        end_reason: None,
    };
    let tx = fixture.store.begin().await.unwrap();
    tx.sessions().insert(&session).await.unwrap();
    tx.sessions()
        .insert_token(session.id, session.id.0.as_bytes(), at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    session
}

#[tokio::test]
async fn a_refresh_token_is_used_by_one_of_many() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let session = session(&fixture, &user(&fixture, ours, None).await).await;
        let hash = session.id.0.as_bytes();
        let once = async || {
            let tx = fixture.store.begin().await.unwrap();
            let first = tx.sessions().use_token(hash, at(1)).await.unwrap();
            tx.commit().await.unwrap();
            first
        };
        let (a, b, c) = tokio::join!(once(), once(), once());
        assert_eq!([a, b, c].iter().filter(|first| **first).count(), 1);
        let known = fixture
            .store
            .read()
            .sessions()
            .token(WHY, hash)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((known.session, known.used_at), (session.id, Some(at(1))));
        assert!(
            fixture
                .store
                .read()
                .sessions()
                .token(WHY, b"x")
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn sessions_are_ended_and_swept() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let user = user(&fixture, ours, None).await;
        let (one, two, three) = (
            session(&fixture, &user).await,
            session(&fixture, &user).await,
            session(&fixture, &user).await,
        );
        let tx = fixture.store.begin().await.unwrap();
        let sessions = tx.sessions();
        let stranger = UserId::generate();
        assert!(
            !sessions
                .end(stranger, one.id, EndReason::Revoked, at(5))
                .await
                .unwrap()
        );
        assert!(
            sessions
                .end(user.id, one.id, EndReason::Revoked, at(5))
                .await
                .unwrap()
        );
        assert!(
            !sessions
                .end(user.id, one.id, EndReason::Revoked, at(6))
                .await
                .unwrap()
        );
        let ended = sessions
            .end_all_but(user.id, two.id, EndReason::PasswordChanged, at(7))
            .await;
        assert_eq!(ended.unwrap(), 1);
        let used = Session {
            last_seen_at: at(60),
            ..two.clone()
        };
        sessions.touch(&used).await.unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        let standing = read.sessions().standing(WHY, user.id, at(8)).await.unwrap();
        assert_eq!(
            standing.iter().map(|session| session.id).collect::<Vec<_>>(),
            [two.id]
        );
        assert_eq!(standing[0].user_agent.as_deref(), Some("a\u{fffd}b"));
        assert!(
            read.sessions()
                .standing(WHY, user.id, at(100))
                .await
                .unwrap()
                .is_empty()
        );
        let found = read.sessions().find(WHY, three.id).await.unwrap().unwrap();
        assert_eq!(found.session.end_reason, Some(EndReason::PasswordChanged));
        assert_eq!(found.user, user);
        let tx = fixture.store.begin().await.unwrap();
        assert_eq!(tx.sessions().sweep(WHY, at(50)).await.unwrap(), 2);
        assert_eq!(tx.sessions().sweep(WHY, at(50)).await.unwrap(), 0);
        assert_eq!(
            tx.sessions()
                .end_all_of(user.id, EndReason::UserDisabled, at(70))
                .await
                .unwrap(),
            1
        );
        tx.commit().await.unwrap();
        assert!(read.sessions().find(WHY, one.id).await.unwrap().is_none());
        assert!(
            read.sessions()
                .token(WHY, one.id.0.as_bytes())
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn an_external_user_is_nobody_elses_namesake() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let local = user(&fixture, ours, None).await;
        let identity = |subject: &str| ExternalIdentity {
            issuer: "https://issuer.example".into(),
            subject: subject.into(),
        };
        let one = user(&fixture, ours, Some(identity("1"))).await;
        let two = user(&fixture, ours, Some(identity("2"))).await;
        let users = fixture.store.read();
        let found = |subject: &str| {
            let (users, identity) = (users.clone(), identity(subject));
            async move {
                users
                    .users()
                    .by_identity(WHY, &identity)
                    .await
                    .unwrap()
                    .map(|user| user.id)
            }
        };
        assert_eq!((found("1").await, found("2").await), (Some(one.id), Some(two.id)));
        assert_eq!(found("3").await, None);
        let by_email = users.users().by_email(WHY, "a@x.org").await.unwrap().unwrap();
        assert_eq!(by_email.user.id, local.id);
        let tx = fixture.store.begin().await.unwrap();
        let twice = User {
            id: UserId::generate(),
            ..one
        };
        assert!(tx.users().insert(&twice, None).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn every_change_of_rights_is_counted_and_nothing_else() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let user = user(&fixture, ours, None).await;
        let session = session(&fixture, &user).await;
        let feed = datasource(ours, "feed");
        let tx = fixture.store.begin().await.unwrap();
        tx.datasources().insert(&feed).await.unwrap();
        tx.commit().await.unwrap();
        let epochs = async || fixture.store.read().sessions().epochs(WHY).await.unwrap();
        assert_eq!((epochs().await.rights, epochs().await.token_keys), (0, 0));

        let binding = RoleBinding {
            id: RoleBindingId::generate(),
            organization: Some(ours.0),
            subject: Subject::User(user.id),
            grant: Grant {
                role: Role::Viewer,
                scope: Scope::Organization(ours.0),
            },
            created_at: at(0),
            created_by: None,
            updated_at: at(0),
            revision: 1,
        };
        let tx = fixture.store.begin().await.unwrap();
        tx.role_bindings().insert(&binding).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(epochs().await.rights, 0);
        let mut last = 0;
        for step in 0..7 {
            let tx = fixture.store.begin().await.unwrap();
            let counts = match step {
                0 => tx.role_bindings().insert(&binding).await.map(|()| true),
                1 => tx.role_bindings().delete(ours, binding.id).await,
                2 => {
                    let renamed = User {
                        name: "B".into(),
                        ..user.clone()
                    };
                    tx.users().update(&renamed, Some("x"), at(1)).await.map(|_| false)
                }
                3 => {
                    let disabled = User {
                        disabled: true,
                        revision: 2,
                        ..user.clone()
                    };
                    tx.users().update(&disabled, None, at(1)).await.map(|_| true)
                }
                4 => tx.sessions().touch(&session).await.map(|()| false),
                5 => {
                    tx.sessions()
                        .end(user.id, session.id, EndReason::Revoked, at(1))
                        .await
                }
                _ => {
                    let now = tx.users().find(ours, user.id).await.unwrap().unwrap();
                    tx.users().delete(&now, at(2)).await.map(|()| true)
                }
            };
            let counts = counts.unwrap();
            tx.commit().await.unwrap();
            let now = epochs().await.rights;
            assert_eq!(now > last, counts, "step {step}: {last} to {now}");
            last = now;
        }
        let key = SigningKey {
            id: "k".into(),
            purpose: "access_token".into(),
            public_key: vec![1],
            wrapped: vec![2],
            wrapped_by: "w".into(),
            created_at: at(0),
            signs_from: Some(at(0) + TimeDelta::seconds(30)),
            retired_at: None,
        };
        let tx = fixture.store.begin().await.unwrap();
        tx.keys().insert_signing(&key).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((epochs().await.rights, epochs().await.token_keys), (last, 1));
        let kept = fixture
            .store
            .read()
            .keys()
            .signing(WHY, "access_token")
            .await
            .unwrap();
        assert_eq!(kept, [key]);
        let tx = fixture.store.begin().await.unwrap();
        tx.keys().destroy_signing("k").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(epochs().await.token_keys, 2);
    })
    .await;
}
