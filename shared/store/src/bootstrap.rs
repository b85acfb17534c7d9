//! The first start: an organisation, a project and an admin.

use halcyon_domain::{
    access::{Grant, Role, Scope, Subject},
    clock::Timestamp,
    id::{OrganizationId, ProjectId, RoleBindingId, UserId},
    organization::ApprovalPolicy,
};

use crate::{
    connection::Store, error::Result, organizations::Organization, projects::Project,
    role_bindings::RoleBinding, tenant::AllTenants, users::User,
};

/// The name of the first organisation and of its first project.
const DEFAULT: &str = "default";

/// Who the first admin is.
#[derive(Clone)]
pub struct FirstAdmin {
    /// Their e-mail address.
    pub email: String,
    /// What people call them.
    pub name: String,
    /// Their password's argon2 hash (PHC string).
    pub password_hash: String,
}

/// What the first start made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrapped {
    /// The organisation.
    pub organization: OrganizationId,
    /// Its project.
    pub project: ProjectId,
    /// The admin.
    pub admin: UserId,
}

impl Store {
    /// Makes organisation and project `default` and a global admin, if there is no user yet. Of several
    /// processes that start at once, one does it. Returns what was made; nothing if there was a user.
    ///
    /// # Errors
    /// The database fails.
    pub async fn bootstrap(&self, admin: &FirstAdmin, now: Timestamp) -> Result<Option<Bootstrapped>> {
        let tx = self.begin().await?;
        tx.lock("halcyon.bootstrap").await?;
        if tx
            .users()
            .count(AllTenants::because("the first start looks for any user"))
            .await?
            > 0
        {
            return Ok(None);
        }
        let made = Bootstrapped {
            organization: OrganizationId::generate(),
            project: ProjectId::generate(),
            admin: UserId::generate(),
        };
        let Bootstrapped {
            organization,
            project,
            admin: user,
        } = made;
        let stamp = (DEFAULT.to_owned(), now, now, 1);
        let (name, created_at, updated_at, revision) = stamp.clone();
        tx.organizations()
            .insert(&Organization {
                id: organization,
                name,
                approval_policy: ApprovalPolicy::Off,
                created_at,
                updated_at,
                revision,
            })
            .await?;
        let (name, created_at, updated_at, revision) = stamp;
        let project = Project {
            id: project,
            organization,
            name,
            description: None,
            approval_policy: None,
            created_at,
            updated_at,
            revision,
        };
        tx.organizations().insert_project(&project).await?;
        let user = User {
            id: user,
            organization,
            email: admin.email.clone(),
            name: admin.name.clone(),
            disabled: false,
            external: None,
            created_at,
            updated_at,
            revision,
        };
        tx.users().insert(&user, Some(&admin.password_hash)).await?;
        let binding = RoleBinding {
            id: RoleBindingId::generate(),
            organization: None,
            subject: Subject::User(user.id),
            grant: Grant {
                role: Role::Admin,
                scope: Scope::Global,
            },
            created_at: now,
            created_by: None,
            updated_at: now,
            revision: 1,
        };
        tx.role_bindings().insert(&binding).await?;
        tx.commit().await?;
        Ok(Some(made))
    }
}
