//! Organisations, users, roles, the first start, repeated requests.

use halcyon_domain::{
    access::{Grant, Role, Scope},
    id::{ProjectId, RoleBindingId, UserId},
};

use super::{at, on_both};
use crate::{AllTenants, Error, FirstAdmin, PageRequest, Project, RoleBinding, Tenant, Unique, User};

const WHY: AllTenants = AllTenants::because("a test");

#[tokio::test]
async fn the_first_start_happens_once() {
    on_both(|fixture| async move {
        let admin = FirstAdmin {
            email: "Admin@Example.com".into(),
            name: "Admin".into(),
            password_hash: "$argon2".into(),
        };
        let (one, two) = tokio::join!(
            fixture.store.bootstrap(&admin, at(0)),
            fixture.store.bootstrap(&admin, at(0)),
        );
        let made: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
        assert_eq!(made.len(), 1);
        let read = fixture.store.read();
        let found = read
            .users()
            .by_email(WHY, "ADMIN@example.com")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.user.email, "admin@example.com");
        assert_eq!(found.password_hash.as_deref(), Some("$argon2"));
        assert!(!format!("{found:?}").contains("argon2"));
        let grants = read.users().grants(WHY, found.user.id).await.unwrap();
        assert_eq!(
            grants,
            [Grant {
                role: Role::Admin,
                scope: Scope::Global
            }]
        );
        let tenant = Tenant(found.user.organization);
        assert!(
            read.organizations()
                .project_by_name(tenant, "default")
                .await
                .unwrap()
                .is_some()
        );
    })
    .await;
}

#[tokio::test]
async fn users_and_roles_belong_to_their_tenant() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let user = User {
            id: UserId::generate(),
            organization: ours.0,
            email: "A@x.org".into(),
            name: "A".into(),
            disabled: false,
            created_at: at(0),
            updated_at: at(0),
            revision: 1,
        };
        let binding = RoleBinding {
            id: RoleBindingId::generate(),
            organization: Some(ours.0),
            user: user.id,
            grant: Grant {
                role: Role::Viewer,
                scope: Scope::Organization(ours.0),
            },
            created_at: at(0),
            created_by: None,
        };
        let tx = fixture.store.begin().await.unwrap();
        tx.users().insert(&user, None).await.unwrap();
        tx.users().insert_binding(&binding).await.unwrap();
        tx.commit().await.unwrap();

        let tx = fixture.store.begin().await.unwrap();
        let again = User {
            id: UserId::generate(),
            email: "a@X.org".into(),
            ..user.clone()
        };
        let taken = tx.users().insert(&again, None).await.unwrap_err();
        assert!(matches!(taken, Error::Conflict(Unique::UserEmail)), "{taken:?}");
        drop(tx);

        let tx = fixture.store.begin().await.unwrap();
        let renamed = User {
            name: "B".into(),
            ..user.clone()
        };
        assert_eq!(
            tx.users()
                .update(&renamed, Some("hash"), at(1))
                .await
                .unwrap()
                .revision,
            2
        );
        let stale = tx.users().update(&renamed, None, at(1)).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }), "{stale:?}");
        assert!(!tx.users().delete(theirs, user.id).await.unwrap());
        assert!(!tx.users().delete_binding(theirs, binding.id).await.unwrap());
        tx.commit().await.unwrap();

        let read = fixture.store.read();
        assert!(read.users().find(theirs, user.id).await.unwrap().is_none());
        let kept = read.users().credentials(ours, user.id).await.unwrap().unwrap();
        assert_eq!(
            (kept.user.name.as_str(), kept.password_hash.as_deref()),
            ("B", Some("hash"))
        );
        let page = PageRequest::default();
        assert_eq!(
            read.users()
                .list(ours, Some("x.ORG"), &page)
                .await
                .unwrap()
                .items
                .len(),
            1
        );
        assert_eq!(
            read.users()
                .bindings(ours, Some(user.id), &page)
                .await
                .unwrap()
                .items,
            [binding]
        );
        assert_eq!(
            read.users().bindings(theirs, None, &page).await.unwrap().items,
            []
        );
    })
    .await;
}

#[tokio::test]
async fn a_projects_name_is_unique_in_its_organisation() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let project = |tenant: Tenant| Project {
            id: ProjectId::generate(),
            organization: tenant.0,
            name: "p".into(),
            created_at: at(0),
            updated_at: at(0),
            revision: 1,
        };
        let first = project(ours);
        let tx = fixture.store.begin().await.unwrap();
        tx.organizations().insert_project(&first).await.unwrap();
        tx.organizations().insert_project(&project(theirs)).await.unwrap();
        let renamed = tx
            .organizations()
            .rename_project(ours, first.id, "q", 1, at(1))
            .await
            .unwrap();
        assert_eq!((renamed.name.as_str(), renamed.revision), ("q", 2));
        let stale = tx
            .organizations()
            .rename_project(ours, first.id, "r", 1, at(1))
            .await
            .unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }));
        let none = tx
            .organizations()
            .rename_project(theirs, first.id, "r", 2, at(1))
            .await
            .unwrap_err();
        assert!(matches!(none, Error::NotFound("project")));
        tx.organizations().insert_project(&project(ours)).await.unwrap();
        let taken = tx
            .organizations()
            .insert_project(&project(ours))
            .await
            .unwrap_err();
        assert!(matches!(taken, Error::Conflict(Unique::ProjectName)), "{taken:?}");
    })
    .await;
}
