//! Two organisations, two projects in one of them, somebody for each role, and things to act on.

use std::{collections::HashMap, sync::Mutex};

use halcyon_domain::{
    access::{Grant, Role, Scope, Subject},
    clock::Timestamp,
    id::{DatasourceId, OrganizationId, ProjectId, RoleBindingId},
};
use halcyon_store::RoleBinding;
use serde_json::json;

use super::{
    holder::{Held, Holder, Reach},
    live::Live,
    made::{self, Maker},
};
use crate::{
    Settings,
    edge::settings::Quota,
    tests::support::{Elsewhere, Gateway},
};

/// What is acted on: a datasource with what is below it, and its surroundings.
#[derive(Clone, Default)]
pub(super) struct Target {
    pub(super) organization: String,
    pub(super) project: String,
    /// The project that a datasource is to be moved to.
    pub(super) destination: String,
    pub(super) datasource: String,
    pub(super) comment: String,
    pub(super) approval: String,
    pub(super) sample: String,
    pub(super) user: String,
    pub(super) account: String,
    pub(super) token: String,
    pub(super) binding: String,
    pub(super) alert: String,
    pub(super) entity: String,
    pub(super) relationship: String,
    /// An entry of the audit trail.
    pub(super) entry: String,
}

/// All of it.
pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) live: Live,
    held: Held,
    sibling: ProjectId,
    other: Elsewhere,
    /// A token of somebody who may do anything.
    admin: String,
    /// An entry of each organisation's trail.
    entries: [String; 2],
    /// What was made and not used up, by who asks.
    targets: Mutex<HashMap<(Option<String>, Reach), Target>>,
}

/// No limit on requests.
fn settings() -> Settings {
    let mut settings = Settings::default();
    let open = |quota: Quota| Quota { requests: 0, ..quota };
    settings.limits.subject = open(settings.limits.subject);
    settings.limits.address = open(settings.limits.address);
    settings
}

impl World {
    pub(super) async fn start(held: Held) -> Self {
        let gateway = Gateway::start_with(&settings()).await;
        let admin = gateway.admin();
        let other = gateway.elsewhere().await;
        let sibling = gateway
            .call(&admin, "POST", "/projects", Some(json!({"name": "sibling"})))
            .await
            .expect(201);
        let entries = [
            made::entry(&gateway, gateway.organization).await,
            made::entry(&gateway, other.organization).await,
        ];
        Self {
            live: Live::start(&gateway).await,
            gateway,
            held,
            sibling: sibling["id"].as_str().unwrap().parse().unwrap(),
            other,
            admin,
            entries,
            targets: Mutex::default(),
        }
    }

    /// Where roles are given. That for a datasource is given for each that is made.
    fn scope(&self) -> Option<Scope> {
        match self.held {
            Held::Global => Some(Scope::Global),
            Held::Organization => Some(Scope::Organization(self.gateway.organization)),
            Held::Project => Some(Scope::Project(self.gateway.project)),
            Held::Datasource => None,
        }
    }

    /// Users and programs with each role, a user without any, and nobody.
    pub(super) async fn holders(&self) -> Vec<Holder> {
        let mut holders = Vec::new();
        for role in Role::ALL.iter().copied().map(Some).chain([None]) {
            let user = self.gateway.person(self.gateway.organization, "somebody").await;
            let token = self.gateway.token(user, self.gateway.organization).await;
            holders.push((Subject::User(user), token, role));
            if role.is_some() {
                let (account, token) = self.maker(Reach::Own).program().await;
                holders.push((Subject::ServiceAccount(account), token, role));
            }
        }
        for (subject, _, role) in &holders {
            if let (Some(role), Some(scope)) = (role, self.scope()) {
                self.grant(*subject, *role, scope).await;
            }
        }
        let held = self.held;
        let known = holders.into_iter().map(|(subject, token, role)| Holder {
            token: Some(token),
            subject: Some(subject),
            role,
            held,
        });
        let nobody = Holder {
            token: None,
            subject: None,
            role: None,
            held,
        };
        known.chain([nobody]).collect()
    }

    async fn grant(&self, subject: Subject, role: Role, scope: Scope) {
        let at = Timestamp::default();
        let binding = RoleBinding {
            id: RoleBindingId::generate(),
            organization: (scope != Scope::Global).then_some(self.gateway.organization),
            subject,
            grant: Grant { role, scope },
            created_at: at,
            created_by: None,
            updated_at: at,
            revision: 1,
        };
        let tx = self.gateway.store.begin().await.unwrap();
        tx.role_bindings().insert(&binding).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Something to act on, made anew after it was used up.
    pub(super) async fn target(&self, holder: &Holder, reach: Reach) -> Target {
        let key = (holder.token.clone(), reach);
        if let Some(target) = self.targets.lock().unwrap().get(&key) {
            return target.clone();
        }
        let target = self.make(reach).await;
        if let (Held::Datasource, Reach::Own, Some(subject), Some(role)) =
            (self.held, reach, holder.subject, holder.role)
        {
            let datasource: DatasourceId = target.datasource.parse().unwrap();
            self.grant(subject, role, Scope::Datasource(datasource)).await;
        }
        self.targets.lock().unwrap().insert(key, target.clone());
        target
    }

    /// Something was done to a target: it is not what it was.
    pub(super) fn spend(&self, holder: &Holder, reach: Reach) {
        let key = (holder.token.clone(), reach);
        self.targets.lock().unwrap().remove(&key);
    }

    fn place(&self, reach: Reach) -> (OrganizationId, ProjectId) {
        let own = self.gateway.organization;
        match reach {
            Reach::Own | Reach::Deleted => (own, self.gateway.project),
            Reach::Sibling => (own, self.sibling),
            Reach::Other => (self.other.organization, self.other.project),
        }
    }

    fn maker(&self, reach: Reach) -> Maker<'_> {
        let (organization, project) = self.place(reach);
        Maker {
            gateway: &self.gateway,
            admin: if reach == Reach::Other {
                &self.other.token
            } else {
                &self.admin
            },
            organization,
            project,
        }
    }

    async fn make(&self, reach: Reach) -> Target {
        let maker = self.maker(reach);
        let mut target = maker.target().await;
        target.destination = self.sibling.to_string();
        target.entry = match reach {
            Reach::Own | Reach::Sibling => self.entries[0].clone(),
            Reach::Other => self.entries[1].clone(),
            // None is ever deleted.
            Reach::Deleted => made::name(),
        };
        if reach == Reach::Deleted {
            maker.delete(&mut target).await;
        }
        target
    }
}
