//! Organisations, projects, users, service accounts, roles, the first start.

use std::sync::Arc;

use halcyon_domain::{
    access::{Grant, Role, Scope, ScopeKind, Subject},
    id::{ProjectId, RoleBindingId, ServiceAccountId, ServiceAccountTokenId, UserId},
    organization::ApprovalPolicy,
};

use super::{Fixture, at, datasource, on_both};
use crate::{
    AllTenants, BindingFilter, Error, FirstAdmin, PageRequest, Project, RoleBinding, ServiceAccount,
    ServiceAccountToken, Tenant, Unique, User, Visibility,
};

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
        let given = read.role_bindings().of(WHY, Subject::User(found.user.id)).await;
        let grants: Vec<Grant> = given.unwrap().iter().map(|binding| binding.grant).collect();
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

fn user(tenant: Tenant, email: &str) -> User {
    User {
        id: UserId::generate(),
        organization: tenant.0,
        email: email.into(),
        name: "A".into(),
        disabled: false,
        external: None,
        created_at: at(0),
        updated_at: at(0),
        revision: 1,
    }
}

fn binding(tenant: Tenant, subject: Subject, role: Role, scope: Scope) -> RoleBinding {
    RoleBinding {
        id: RoleBindingId::generate(),
        organization: (scope != Scope::Global).then_some(tenant.0),
        subject,
        grant: Grant { role, scope },
        created_at: at(0),
        created_by: None,
        updated_at: at(0),
        revision: 1,
    }
}

fn account(tenant: Tenant, name: &str) -> ServiceAccount {
    ServiceAccount {
        id: ServiceAccountId::generate(),
        organization: tenant.0,
        name: name.into(),
        description: None,
        disabled: false,
        created_at: at(0),
        created_by: None,
        updated_at: at(0),
        revision: 1,
    }
}

async fn added(fixture: &Arc<Fixture>, user: User) -> User {
    let tx = fixture.store.begin().await.unwrap();
    tx.users().insert(&user, Some("hash")).await.unwrap();
    tx.commit().await.unwrap();
    user
}

async fn give(fixture: &Arc<Fixture>, bindings: &[RoleBinding]) {
    let tx = fixture.store.begin().await.unwrap();
    for binding in bindings {
        tx.role_bindings().insert(binding).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn users_belong_to_their_tenant_and_are_deleted_softly() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let first = added(&fixture, user(ours, "a@x.org")).await;

        let tx = fixture.store.begin().await.unwrap();
        let taken = tx
            .users()
            .insert(&user(theirs, "A@X.org"), None)
            .await
            .unwrap_err();
        assert!(matches!(taken, Error::Conflict(Unique::UserEmail)), "{taken:?}");
        drop(tx);

        let tx = fixture.store.begin().await.unwrap();
        let renamed = User {
            name: "B".into(),
            ..first.clone()
        };
        let renamed = tx.users().update(&renamed, Some("other"), at(1)).await.unwrap();
        assert_eq!(renamed.revision, 2);
        let stale = tx.users().update(&first, None, at(1)).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }), "{stale:?}");
        let elsewhere = User {
            organization: theirs.0,
            ..renamed.clone()
        };
        let none = tx.users().delete(&elsewhere, at(2)).await.unwrap_err();
        assert!(matches!(none, Error::NotFound("user")), "{none:?}");
        tx.commit().await.unwrap();

        let read = fixture.store.read();
        assert!(read.users().find(theirs, first.id).await.unwrap().is_none());
        let kept = read.users().credentials(ours, first.id).await.unwrap().unwrap();
        assert_eq!(
            (kept.user.name.as_str(), kept.password_hash.as_deref()),
            ("B", Some("other"))
        );
        let page = PageRequest::default();
        let found = read.users().list(ours, Some("x.ORG"), &page).await.unwrap();
        assert_eq!(found.items, std::slice::from_ref(&renamed));

        let tx = fixture.store.begin().await.unwrap();
        let stale = tx.users().delete(&first, at(2)).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }), "{stale:?}");
        tx.users().delete(&renamed, at(2)).await.unwrap();
        tx.users().insert(&user(theirs, "a@x.org"), None).await.unwrap();
        tx.commit().await.unwrap();
        assert!(read.users().find_any(WHY, first.id).await.unwrap().is_none());
        let again = read.users().by_email(WHY, "a@x.org").await.unwrap().unwrap();
        assert_eq!(again.user.organization, theirs.0, "the address is free again");
    })
    .await;
}

#[tokio::test]
async fn roles_are_for_users_and_accounts_and_belong_to_their_tenant() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let person = Subject::User(added(&fixture, user(ours, "a@x.org")).await.id);
        let program = account(ours, "ci");
        let tx = fixture.store.begin().await.unwrap();
        tx.service_accounts().insert(&program).await.unwrap();
        tx.commit().await.unwrap();
        let program = Subject::ServiceAccount(program.id);
        let scope = Scope::Organization(ours.0);
        let one = binding(ours, person, Role::Viewer, scope);
        let two = binding(ours, program, Role::Viewer, scope);
        let global = binding(ours, person, Role::Viewer, Scope::Global);
        give(&fixture, &[one.clone(), two.clone(), global.clone()]).await;

        for subject in [person, program] {
            let tx = fixture.store.begin().await.unwrap();
            let twice = binding(ours, subject, Role::Viewer, scope);
            let taken = tx.role_bindings().insert(&twice).await.unwrap_err();
            assert!(matches!(taken, Error::Conflict(Unique::RoleBinding)), "{taken:?}");
        }
        let page = PageRequest::default();
        let read = fixture.store.read();
        let list = async |tenant, filter| {
            let page = read.role_bindings().list(tenant, &filter, &page).await.unwrap();
            let ids = page.items.into_iter().map(|binding| binding.id);
            ids.collect::<Vec<_>>()
        };
        let of = |subject| BindingFilter {
            subject: Some(subject),
            ..BindingFilter::default()
        };
        assert_eq!(list(ours, of(person)).await, [one.id]);
        assert_eq!(list(ours, of(program)).await, [two.id]);
        assert_eq!(list(theirs, BindingFilter::default()).await, []);
        let with_global = BindingFilter {
            global: true,
            kind: Some(ScopeKind::Global),
            role: Some(Role::Viewer),
            ..BindingFilter::default()
        };
        assert_eq!(list(theirs, with_global).await, [global.id]);
        assert!(read.role_bindings().find(theirs, one.id).await.unwrap().is_none());

        let tx = fixture.store.begin().await.unwrap();
        assert!(!tx.role_bindings().delete(theirs, one.id).await.unwrap());
        let mut stronger = one.clone();
        stronger.grant.role = Role::Operator;
        let stronger = tx.role_bindings().update(ours, &stronger, at(3)).await.unwrap();
        assert_eq!((stronger.grant.role, stronger.revision), (Role::Operator, 2));
        let stale = tx.role_bindings().update(ours, &one, at(3)).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }), "{stale:?}");
        let taken = tx.role_bindings().delete_of(WHY, person).await.unwrap();
        assert_eq!(taken, [stronger, global]);
        assert_eq!(tx.role_bindings().delete_at(ours, scope).await.unwrap(), [two]);
        assert_eq!(tx.role_bindings().delete_in(ours).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_part_of_the_organisation_shows_the_roles_given_there() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let person = Subject::User(added(&fixture, user(ours, "a@x.org")).await.id);
        let (inside, outside) = (project(ours, "inside"), project(ours, "outside"));
        let mut feed = datasource(ours, "feed");
        feed.project = Some(inside.id);
        let other = datasource(ours, "other");
        let tx = fixture.store.begin().await.unwrap();
        tx.organizations().insert_project(&inside).await.unwrap();
        tx.organizations().insert_project(&outside).await.unwrap();
        tx.datasources().insert(&feed).await.unwrap();
        tx.datasources().insert(&other).await.unwrap();
        tx.commit().await.unwrap();
        let scopes = [
            Scope::Organization(ours.0),
            Scope::Project(inside.id),
            Scope::Project(outside.id),
            Scope::Datasource(feed.id),
            Scope::Datasource(other.id),
        ];
        let given = scopes.map(|scope| binding(ours, person, Role::Viewer, scope));
        give(&fixture, &given).await;
        let seen = async |projects: Vec<ProjectId>, datasources| {
            let filter = BindingFilter {
                visible: Some(Visibility {
                    projects,
                    datasources,
                }),
                ..BindingFilter::default()
            };
            let page = PageRequest::default();
            let read = fixture.store.read();
            let page = read.role_bindings().list(ours, &filter, &page).await.unwrap();
            page.items
                .iter()
                .map(|binding| binding.grant.scope)
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(vec![inside.id], vec![]).await, [scopes[1], scopes[3]]);
        assert_eq!(seen(vec![], vec![other.id]).await, [scopes[4]]);
    })
    .await;
}

#[tokio::test]
async fn admins_are_users_who_can_sign_in() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let own = added(&fixture, user(ours, "own@x.org")).await;
        let global = added(&fixture, user(theirs, "global@x.org")).await;
        let mut gone = user(ours, "gone@x.org");
        gone.disabled = true;
        let gone = added(&fixture, gone).await;
        let program = account(ours, "ci");
        let tx = fixture.store.begin().await.unwrap();
        tx.service_accounts().insert(&program).await.unwrap();
        tx.commit().await.unwrap();
        let scope = Scope::Organization(ours.0);
        give(
            &fixture,
            &[
                binding(ours, Subject::User(own.id), Role::Admin, scope),
                binding(ours, Subject::User(gone.id), Role::Admin, scope),
                binding(ours, Subject::ServiceAccount(program.id), Role::Admin, scope),
                binding(ours, Subject::User(global.id), Role::Operator, scope),
                binding(theirs, Subject::User(global.id), Role::Admin, Scope::Global),
            ],
        )
        .await;
        let read = fixture.store.read();
        let bindings = read.role_bindings();
        assert_eq!(bindings.organization_admins(ours).await.unwrap(), [own.id]);
        assert_eq!(bindings.organization_admins(theirs).await.unwrap(), [global.id]);
        assert_eq!(bindings.global_admins(WHY).await.unwrap(), [global.id]);
    })
    .await;
}

#[tokio::test]
async fn a_token_counts_until_it_is_revoked_with_its_account() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let made = account(ours, "ci");
        let token = |name: &str| ServiceAccountToken {
            id: ServiceAccountTokenId::generate(),
            organization: ours.0,
            account: made.id,
            name: name.into(),
            created_at: at(0),
            created_by: None,
            expires_at: Some(at(9)),
            last_used_at: None,
            revoked_at: None,
        };
        let (one, two) = (token("one"), token("two"));
        let tx = fixture.store.begin().await.unwrap();
        let accounts = tx.service_accounts();
        accounts.insert(&made).await.unwrap();
        accounts.insert_token(&one, [1; 32]).await.unwrap();
        accounts.insert_token(&two, [2; 32]).await.unwrap();
        accounts.touch_token(ours, one.id, at(1)).await.unwrap();
        accounts.touch_token(theirs, two.id, at(1)).await.unwrap();
        tx.commit().await.unwrap();

        let read = fixture.store.read();
        let known = read
            .service_accounts()
            .credentials(WHY, one.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((known.account.id, known.hash.as_slice()), (made.id, &[1; 32][..]));
        assert_eq!(known.token.last_used_at, Some(at(1)));
        assert!(!format!("{known:?}").contains("hash"));
        let page = PageRequest::default();
        let tokens = async |tenant| {
            let read = fixture.store.read();
            let page = read.service_accounts().tokens(tenant, made.id, &page).await;
            page.unwrap().items
        };
        assert_eq!(tokens(ours).await.len(), 2);
        assert_eq!(tokens(theirs).await, []);

        let tx = fixture.store.begin().await.unwrap();
        let accounts = tx.service_accounts();
        let none = accounts.revoke_token(theirs, made.id, one.id, at(2)).await;
        assert_eq!(none.unwrap(), None);
        let revoked = accounts.revoke_token(ours, made.id, one.id, at(2)).await.unwrap();
        assert_eq!(revoked.unwrap().revoked_at, Some(at(2)));
        assert_eq!(accounts.count_tokens(ours, made.id).await.unwrap(), 1);
        let again = accounts.insert(&account(ours, "ci")).await;
        let taken = again.unwrap_err();
        assert!(
            matches!(taken, Error::Conflict(Unique::ServiceAccountName)),
            "{taken:?}"
        );
        drop(tx);

        let tx = fixture.store.begin().await.unwrap();
        let accounts = tx.service_accounts();
        accounts.delete(&made, at(3)).await.unwrap();
        accounts.insert(&account(ours, "ci")).await.unwrap();
        tx.commit().await.unwrap();
        let gone = read.service_accounts().credentials(WHY, two.id).await.unwrap();
        assert!(gone.is_none());
        assert!(
            tokens(ours)
                .await
                .iter()
                .all(|token| token.revoked_at == Some(at(3)))
        );
    })
    .await;
}

fn project(tenant: Tenant, name: &str) -> Project {
    Project {
        id: ProjectId::generate(),
        organization: tenant.0,
        name: name.into(),
        description: None,
        approval_policy: None,
        created_at: at(0),
        updated_at: at(0),
        revision: 1,
    }
}

#[tokio::test]
async fn a_projects_name_is_unique_in_its_organisation() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let first = project(ours, "p");
        let tx = fixture.store.begin().await.unwrap();
        let organizations = tx.organizations();
        organizations.insert_project(&first).await.unwrap();
        organizations.insert_project(&project(theirs, "p")).await.unwrap();
        let mut renamed = first.clone();
        renamed.name = "q".into();
        let renamed = organizations.update_project(&renamed, at(1)).await.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.revision), ("q", 2));
        let stale = organizations.update_project(&first, at(1)).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }));
        let elsewhere = Project {
            organization: theirs.0,
            ..renamed.clone()
        };
        let none = organizations.update_project(&elsewhere, at(1)).await.unwrap_err();
        assert!(matches!(none, Error::NotFound("project")));
        organizations.delete_project(&renamed, at(2)).await.unwrap();
        assert!(organizations.project(ours, first.id).await.unwrap().is_none());
        organizations.insert_project(&project(ours, "q")).await.unwrap();
        let again = organizations.insert_project(&project(ours, "q")).await;
        let taken = again.unwrap_err();
        assert!(matches!(taken, Error::Conflict(Unique::ProjectName)), "{taken:?}");
    })
    .await;
}

#[tokio::test]
async fn a_projects_own_policy_goes_before_the_organisations() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let mut own = project(ours, "own");
        let inherits = project(ours, "inherits");
        own.approval_policy = Some(ApprovalPolicy::Off);
        let tx = fixture.store.begin().await.unwrap();
        let organizations = tx.organizations();
        let mut organization = organizations.find(ours).await.unwrap().unwrap();
        assert_eq!(organization.approval_policy, ApprovalPolicy::Off);
        organization.approval_policy = ApprovalPolicy::Required;
        organization = organizations.update(&organization, at(1)).await.unwrap();
        organizations.insert_project(&own).await.unwrap();
        organizations.insert_project(&inherits).await.unwrap();
        for (project, policy) in [
            (None, ApprovalPolicy::Required),
            (Some(inherits.id), ApprovalPolicy::Required),
            (Some(own.id), ApprovalPolicy::Off),
        ] {
            assert_eq!(
                organizations.approval_policy(ours, project).await.unwrap(),
                policy
            );
        }
        let page = PageRequest::default();
        let all = organizations.list(WHY, None, Some("OUR"), &page).await.unwrap();
        assert_eq!(all.items, [organization.clone()]);
        let none = organizations.list(WHY, Some(&[]), None, &page).await.unwrap();
        assert_eq!(none.items, []);
        organizations.delete(&organization, at(2)).await.unwrap();
        assert!(organizations.find(ours).await.unwrap().is_none());
    })
    .await;
}
