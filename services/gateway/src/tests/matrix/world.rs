//! Two organisations, two projects, somebody for each role, and things to act on.

use std::{collections::HashMap, fmt, sync::Mutex};

use halcyon_domain::{
    access::{Role, Scope},
    id::{DatasourceId, OrganizationId, ProjectId, UserId},
};
use serde_json::{Value, json};

use crate::tests::support::{Gateway, config};

/// Whose a thing is, seen from the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// In the place of the role.
    Own,
    /// In another project of the organisation.
    SiblingProject,
    /// In another organisation.
    OtherOrganization,
    /// Deleted.
    Deleted,
}

impl Reach {
    pub(super) const ALL: [Self; 4] = [
        Self::Own,
        Self::SiblingProject,
        Self::OtherOrganization,
        Self::Deleted,
    ];
}

/// What is acted on: a datasource with what is below it, and its surroundings.
#[derive(Clone, Default)]
pub(super) struct Target {
    pub(super) organization: String,
    pub(super) project: String,
    pub(super) datasource: String,
    pub(super) comment: String,
    pub(super) approval: String,
    pub(super) sample: String,
    pub(super) user: String,
    pub(super) account: String,
    pub(super) token: String,
    pub(super) binding: String,
}

/// Somebody, with a role at a scope.
pub(super) struct Holder {
    pub(super) token: Option<String>,
    pub(super) role: Option<Role>,
    scope: &'static str,
    user: Option<UserId>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.role, &self.token) {
            (Some(role), _) => write!(f, "as {role} at {}", self.scope),
            (None, Some(_)) => f.write_str("without any role"),
            (None, None) => f.write_str("not signed in"),
        }
    }
}

impl Holder {
    pub(super) fn is_global(&self) -> bool {
        self.role.is_some() && self.scope == "global"
    }

    pub(super) fn covers_organization(&self) -> bool {
        self.is_global() || (self.role.is_some() && self.scope == "organization")
    }

    pub(super) fn covers_project(&self, reach: Reach) -> bool {
        self.covers_organization()
            || (self.role.is_some() && self.scope == "project" && reach != Reach::SiblingProject)
    }

    pub(super) fn covers_datasource(&self, reach: Reach) -> bool {
        self.covers_project(reach)
            || (self.role.is_some() && self.scope == "datasource" && reach != Reach::SiblingProject)
    }
}

/// All of it.
pub(super) struct World {
    pub(super) gateway: Gateway,
    scope: &'static str,
    sibling: ProjectId,
    other: (OrganizationId, ProjectId),
    /// Somebody who may do anything in either organisation.
    admins: [String; 2],
    /// What was made and not used up, by who asks.
    targets: Mutex<HashMap<(Option<String>, Reach), Target>>,
}

impl World {
    pub(super) async fn start(scope: &'static str) -> Self {
        let gateway = Gateway::start().await;
        let admin = gateway.admin();
        let made = gateway
            .call(&admin, "POST", "/organizations", Some(json!({"name": "other"})))
            .await
            .expect(201);
        let other = made["id"].as_str().unwrap().parse().unwrap();
        let user = gateway
            .user_of(other, Role::Admin, Scope::Organization(other))
            .await
            .1;
        let theirs = gateway.token(user, other).await;
        let projects = gateway.call(&theirs, "GET", "/projects", None).await.expect(200);
        let project = projects["items"][0]["id"].as_str().unwrap().parse().unwrap();
        let sibling = gateway
            .call(&admin, "POST", "/projects", Some(json!({"name": "sibling"})))
            .await
            .expect(201);
        Self {
            scope,
            sibling: sibling["id"].as_str().unwrap().parse().unwrap(),
            other: (other, project),
            admins: [admin, theirs],
            gateway,
            targets: Mutex::default(),
        }
    }

    /// Somebody for each role at the scope, somebody without any, and somebody who is not signed in.
    pub(super) async fn holders(&self) -> Vec<Holder> {
        // A role for one datasource is given for each that is made.
        let at = match self.scope {
            "global" => Scope::Global,
            "organization" => Scope::Organization(self.gateway.organization),
            "project" => Scope::Project(self.gateway.project),
            _ => Scope::Datasource(DatasourceId::generate()),
        };
        let nowhere = Scope::Project(ProjectId::generate());
        let mut holders = Vec::new();
        for (role, at) in Role::ALL
            .iter()
            .map(|role| (Some(*role), at))
            .chain([(None, nowhere)])
        {
            let organization = self.gateway.organization;
            let (token, user) = self
                .gateway
                .user_of(organization, role.unwrap_or(Role::Admin), at)
                .await;
            holders.push(Holder {
                token: Some(token),
                role,
                scope: self.scope,
                user: Some(user),
            });
        }
        holders.push(Holder {
            token: None,
            role: None,
            scope: self.scope,
            user: None,
        });
        holders
    }

    /// Something to act on, made anew after it was used up.
    pub(super) async fn target(&self, holder: &Holder, reach: Reach) -> Target {
        let key = (holder.token.clone(), reach);
        if let Some(target) = self.targets.lock().unwrap().get(&key) {
            return target.clone();
        }
        let target = self.make(reach).await;
        if let (Some(user), "datasource", Reach::Own, Some(role)) =
            (holder.user, self.scope, reach, holder.role)
        {
            let scope = Scope::Datasource(target.datasource.parse().unwrap());
            self.gateway
                .grant(self.gateway.organization, user, role, scope)
                .await;
        }
        self.targets.lock().unwrap().insert(key, target.clone());
        target
    }

    /// Something was done to a target: it is not what it was.
    pub(super) fn spend(&self, holder: &Holder, reach: Reach) {
        self.targets
            .lock()
            .unwrap()
            .remove(&(holder.token.clone(), reach));
    }

    async fn make(&self, reach: Reach) -> Target {
        let own = self.gateway.organization;
        let (admin, organization, project) = match reach {
            Reach::OtherOrganization => (&self.admins[1], self.other.0, self.other.1),
            Reach::SiblingProject => (&self.admins[0], own, self.sibling),
            Reach::Own | Reach::Deleted => (&self.admins[0], own, self.gateway.project),
        };
        let maker = Maker {
            gateway: &self.gateway,
            admin,
        };
        let mut target = Target {
            organization: organization.to_string(),
            project: project.to_string(),
            ..Target::default()
        };
        if reach == Reach::Deleted {
            target.organization = maker.id("/organizations", json!({"name": name()})).await;
            target.project = maker.id("/projects", json!({"name": name()})).await;
        }
        maker.fill(&mut target).await;
        if reach == Reach::Deleted {
            for path in [
                format!("/role-bindings/{}", target.binding),
                format!("/service-accounts/{}/tokens/{}", target.account, target.token),
                format!("/service-accounts/{}", target.account),
                format!("/users/{}", target.user),
                format!("/datasources/{}", target.datasource),
                format!("/projects/{}", target.project),
                format!("/organizations/{}", target.organization),
            ] {
                self.gateway.call(admin, "DELETE", &path, None).await.expect(204);
            }
        }
        target
    }
}

fn name() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// An admin who makes things.
struct Maker<'a> {
    gateway: &'a Gateway,
    admin: &'a str,
}

impl Maker<'_> {
    async fn id(&self, path: &str, body: Value) -> String {
        let made = self
            .gateway
            .call(self.admin, "POST", path, Some(body))
            .await
            .expect(201);
        let id = made.get("id").or_else(|| made.get("token_id")).unwrap_or(&made);
        id.as_str().unwrap_or_else(|| panic!("{path}: {made}")).to_owned()
    }

    async fn fill(&self, target: &mut Target) {
        let body =
            json!({"name": name(), "type": "http_webhook", "project": target.project, "config": config("t")});
        target.datasource = self.id("/datasources", body).await;
        let below = |path: &str| format!("/datasources/{}{path}", target.datasource);
        let remark = json!({"body": "Why?"});
        target.comment = self.id(&below("/versions/1/comments"), remark).await;
        target.approval = self.id(&below("/approvals"), json!({})).await;
        target.sample = self
            .id(&below("/samples"), json!({"name": "one", "payload": {}}))
            .await;
        let user = json!({"email": format!("{}@example.org", name()), "name": "N", "password": "long enough to be one"});
        target.user = self.id("/users", user).await;
        target.account = self.id("/service-accounts", json!({"name": name()})).await;
        let tokens = format!("/service-accounts/{}/tokens", target.account);
        target.token = self.id(&tokens, json!({"name": "one"})).await;
        let scope = json!({"kind": "project", "id": target.project});
        let binding = json!({"user_id": target.user, "role": "viewer", "scope": scope});
        target.binding = self.id("/role-bindings", binding).await;
    }
}
